// Says what Flux and Argo CD would make of objects: `health ARGOCD_CM < objects.json > verdicts.json`.
//
// Flux judges by kstatus, Argo CD by the Lua scripts in the ConfigMap argocd-cm; these are the very libraries that they use.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"
)

// Longest time that a script may take; Argo CD gives it as much.
const scriptTime = time.Second

type verdict struct {
	Flux    string `json:"flux"`
	Argo    string `json:"argo"`
	Message string `json:"message"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: health ARGOCD_CM < objects.json")
	}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	var settings struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Metadata   map[string]any    `json:"metadata"`
		Data       map[string]string `json:"data"`
	}
	if err := yaml.UnmarshalStrict(text, &settings); err != nil {
		return fmt.Errorf("%s: %w", os.Args[1], err)
	}
	var objects []json.RawMessage
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return err
	}
	verdicts := []verdict{}
	for _, object := range objects {
		seen := &unstructured.Unstructured{}
		if err := seen.UnmarshalJSON(object); err != nil {
			return err
		}
		kind := seen.GroupVersionKind()
		flux, err := status.Compute(seen)
		if err != nil {
			return fmt.Errorf("kstatus of %s: %w", seen.GetName(), err)
		}
		key := fmt.Sprintf("resource.customizations.health.%s_%s", kind.Group, kind.Kind)
		script, found := settings.Data[key]
		if !found {
			return fmt.Errorf("there is no `%s`", key)
		}
		argo, message, err := judge(script, object)
		if err != nil {
			return fmt.Errorf("`%s` on %s: %w", key, seen.GetName(), err)
		}
		verdicts = append(verdicts, verdict{flux.Status.String(), argo, message})
	}
	return json.NewEncoder(os.Stdout).Encode(verdicts)
}

// judge runs a script as Argo CD does: with the few libraries that are open to it, on the global `obj`.
func judge(script string, object json.RawMessage) (health, message string, err error) {
	// Lua has one kind of numbers.
	var fields map[string]any
	if err := json.Unmarshal(object, &fields); err != nil {
		return "", "", err
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(library.open), Protect: true}, lua.LString(library.name)); err != nil {
			return "", "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptTime)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", luajson.DecodeValue(state, fields))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	answer, isTable := state.Get(-1).(*lua.LTable)
	if !isTable {
		return "", "", fmt.Errorf("it returned a %s instead of a table", state.Get(-1).Type())
	}
	return lua.LVAsString(answer.RawGetString("status")), lua.LVAsString(answer.RawGetString("message")), nil
}
