// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/caddy-dpop/caddy-dpop"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// source is one Go file of this repository.
type source struct {
	*ast.File
	path string // from the root, with slashes
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// sources reads all Go files, once.
var sources = sync.OnceValues(func() ([]source, error) {
	var all []source
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if file != root && (name == "node_modules" || name == "testdata" || strings.HasPrefix(name, ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		all = append(all, source{parsed, filepath.ToSlash(relative)})
		return nil
	})
	return all, err
})

func allSources(t *testing.T) []source {
	t.Helper()
	all, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// functions maps "file#name" to true for every function and method, and
// "package.Test" for every test, fuzz target and example; the package is the last
// element of its path, dpop for the root.
func functions(t *testing.T) map[string]bool {
	names := make(map[string]bool)
	for _, s := range allSources(t) {
		dir := path.Base(path.Dir(s.path))
		if dir == "." {
			dir = "dpop"
		}
		for _, declaration := range s.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if s.isTest() {
				names[dir+"."+f.Name.Name] = true
			} else {
				names[s.path+"#"+f.Name.Name] = true
			}
		}
	}
	return names
}
