// A Google Cloud Storage server with one bucket, in memory: gcs ADDRESS BUCKET
//
// It is fake-gcs-server, which answers GET, HEAD, DELETE and lists of Google's XML API, but takes uploads by the JSON API alone (its issues
// 331 and 852). The blob store's client speaks XML only, so its uploads are put to the JSON API here: a PUT with its generation
// precondition as it is, the parts of a multipart upload as one object when they are complete, as
// https://cloud.google.com/storage/docs/multipart-uploads has it.
package main

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

// What Google demands of each part but the last.
const leastPart = 5 << 20

type upload struct {
	bucket, object string
	parts          map[int][]byte
}

type handler struct {
	fake http.Handler

	lock    sync.Mutex
	begun   int
	uploads map[string]*upload
}

// insert stores an object by the JSON API, and answers what that answered.
func (h *handler) insert(bucket, object, generation string, from *http.Request, content io.Reader) *httptest.ResponseRecorder {
	query := url.Values{"uploadType": {"media"}, "name": {object}}
	if generation != "" {
		query.Set("ifGenerationMatch", generation)
	}
	address := fmt.Sprintf("http://%s/upload/storage/v1/b/%s/o?%s", from.Host, url.PathEscape(bucket), query.Encode())
	request := httptest.NewRequest(http.MethodPost, address, content)
	request.Header.Set("Content-Type", from.Header.Get("Content-Type"))
	answer := httptest.NewRecorder()
	h.fake.ServeHTTP(answer, request)
	return answer
}

func (h *handler) put(w http.ResponseWriter, r *http.Request, bucket, object string) {
	answer := h.insert(bucket, object, r.Header.Get("X-Goog-If-Generation-Match"), r, r.Body)
	if answer.Code != http.StatusOK {
		http.Error(w, answer.Body.String(), answer.Code)
		return
	}
	stored(w, answer)
}

// stored copies to the headers what the XML API has there.
func stored(w http.ResponseWriter, answer *httptest.ResponseRecorder) string {
	var object struct{ Etag, Generation string }
	if err := json.Unmarshal(answer.Body.Bytes(), &object); err != nil {
		log.Fatalf("unreadable answer of the JSON API: %v", err)
	}
	w.Header().Set("ETag", strconv.Quote(object.Etag))
	w.Header().Set("X-Goog-Generation", object.Generation)
	return object.Etag
}

func (h *handler) begin(w http.ResponseWriter, r *http.Request, bucket, object string) {
	// Google says at once that there is no such bucket.
	answer := httptest.NewRecorder()
	h.fake.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "http://"+r.Host+"/storage/v1/b/"+url.PathEscape(bucket), nil))
	if answer.Code != http.StatusOK {
		http.Error(w, "NoSuchBucket", answer.Code)
		return
	}
	h.lock.Lock()
	h.begun++
	id := strconv.Itoa(h.begun)
	h.uploads[id] = &upload{bucket, object, map[int][]byte{}}
	h.lock.Unlock()
	write(w, struct {
		XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
		Bucket, Key, UploadId string
	}{Bucket: bucket, Key: object, UploadId: id})
}

// under finds the upload of a request; whoever calls holds the lock.
func (h *handler) under(w http.ResponseWriter, id, bucket, object string) *upload {
	found := h.uploads[id]
	if found == nil || found.bucket != bucket || found.object != object {
		http.Error(w, "NoSuchUpload", http.StatusNotFound)
		return nil
	}
	return found
}

func (h *handler) part(w http.ResponseWriter, r *http.Request, bucket, object string) {
	number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
	if err != nil || number < 1 || number > 10000 {
		http.Error(w, "InvalidArgument: partNumber", http.StatusBadRequest)
		return
	}
	content, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "IncompleteBody", http.StatusBadRequest)
		return
	}
	h.lock.Lock()
	defer h.lock.Unlock()
	if found := h.under(w, r.URL.Query().Get("uploadId"), bucket, object); found != nil {
		found.parts[number] = content
		w.Header().Set("ETag", etag(content))
	}
}

func (h *handler) complete(w http.ResponseWriter, r *http.Request, bucket, object string) {
	var wanted struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.NewDecoder(r.Body).Decode(&wanted); err != nil || len(wanted.Part) == 0 {
		http.Error(w, "MalformedCompleteMultipartUploadRequest", http.StatusBadRequest)
		return
	}
	id := r.URL.Query().Get("uploadId")
	h.lock.Lock()
	defer h.lock.Unlock()
	found := h.under(w, id, bucket, object)
	if found == nil {
		return
	}
	var whole bytes.Buffer
	last := 0
	for i, part := range wanted.Part {
		content, there := found.parts[part.PartNumber]
		switch {
		case part.PartNumber <= last:
			http.Error(w, "InvalidPartOrder", http.StatusBadRequest)
			return
		case !there || strings.Trim(part.ETag, `"`) != strings.Trim(etag(content), `"`):
			http.Error(w, "InvalidPart", http.StatusBadRequest)
			return
		case i+1 < len(wanted.Part) && len(content) < leastPart:
			http.Error(w, "EntityTooSmall", http.StatusBadRequest)
			return
		}
		last = part.PartNumber
		whole.Write(content)
	}
	answer := h.insert(bucket, object, "", r, &whole)
	if answer.Code != http.StatusOK {
		http.Error(w, answer.Body.String(), answer.Code)
		return
	}
	delete(h.uploads, id)
	tag := stored(w, answer)
	write(w, struct {
		XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
		Bucket, Key, ETag string
	}{Bucket: bucket, Key: object, ETag: tag})
}

func (h *handler) abort(w http.ResponseWriter, r *http.Request, bucket, object string) {
	id := r.URL.Query().Get("uploadId")
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.under(w, id, bucket, object) != nil {
		delete(h.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, object, named := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	_, multipart := query["uploadId"]
	switch {
	case !named || object == "":
		h.fake.ServeHTTP(w, r)
	case r.Method == http.MethodPost && query.Has("uploads"):
		h.begin(w, r, bucket, object)
	case r.Method == http.MethodPut && multipart:
		h.part(w, r, bucket, object)
	case r.Method == http.MethodPost && multipart:
		h.complete(w, r, bucket, object)
	case r.Method == http.MethodDelete && multipart:
		h.abort(w, r, bucket, object)
	case r.Method == http.MethodPut:
		h.put(w, r, bucket, object)
	default:
		h.fake.ServeHTTP(w, r)
	}
}

func etag(content []byte) string {
	sum := md5.Sum(content)
	return strconv.Quote(hex.EncodeToString(sum[:]))
}

func write(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/xml")
	if err := xml.NewEncoder(w).Encode(answer); err != nil {
		log.Print(err)
	}
}

func main() {
	address, bucket := os.Args[1], os.Args[2]
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, PublicHost: address, Writer: os.Stderr})
	if err != nil {
		log.Fatal(err)
	}
	fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: bucket})
	log.Fatal(http.ListenAndServe(address, &handler{fake: fake.HTTPHandler(), uploads: map[string]*upload{}}))
}
