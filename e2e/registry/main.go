// An OCI registry of the tests: distribution's own, in memory, behind TLS, for those who know its password.
//
//	registry ADDRESS CERTIFICATE KEY NAME PASSWORD basic|bearer
//
// With `basic` it takes the password itself, as small registries do; with `bearer` it sends whoever comes to an issuer of tokens, at the
// same address, as large ones do.
package main

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/silly"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"golang.org/x/crypto/bcrypt"
)

func main() {
	if len(os.Args) != 7 {
		log.Fatal("usage: registry ADDRESS CERTIFICATE KEY NAME PASSWORD basic|bearer")
	}
	address, certificate, key, name, password := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]

	config := &configuration.Configuration{Storage: configuration.Storage{"inmemory": nil}}
	config.HTTP.Secret = "of the tests"
	if os.Args[6] == "basic" {
		folder, err := os.MkdirTemp("", "registry")
		check(err)
		defer os.RemoveAll(folder)
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		check(err)
		file := filepath.Join(folder, "htpasswd")
		check(os.WriteFile(file, fmt.Appendf(nil, "%s:%s\n", name, hash), 0o600))
		config.Auth = configuration.Auth{"htpasswd": {"realm": "tests", "path": file}}
	} else {
		// It lets in whoever shows any token: it is the issuer below that looks at the password.
		config.Auth = configuration.Auth{"silly": {"realm": "https://" + address + "/token", "service": "tests"}}
	}

	registry := handlers.NewApp(context.Background(), config)
	http.HandleFunc("GET /token", func(answer http.ResponseWriter, request *http.Request) {
		user, shown, _ := request.BasicAuth()
		if user != name || subtle.ConstantTimeCompare([]byte(shown), []byte(password)) != 1 {
			http.Error(answer, `{"errors": [{"code": "UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		fmt.Fprint(answer, `{"token": "whoever has this was let in"}`)
	})
	http.Handle("/", registry)
	listener, err := net.Listen("tcp", address)
	check(err)
	fmt.Println("ready")
	check(http.ServeTLS(listener, nil, certificate, key))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
