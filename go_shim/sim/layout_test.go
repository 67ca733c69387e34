package sim

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// The file name says to what a file belongs: blis_* and blis.go to one scheduler, v1_* and v1.go to
// the other, and all others to both.
func familyOf(file string) string {
	for _, family := range []string{"blis", "v1"} {
		if strings.HasPrefix(file, family+"_") || file == family+".go" {
			return family
		}
	}
	return "shared"
}

// chooser is the file that knows both families: it selects the engine.
const chooser = "simulator.go"

func parseSources(t *testing.T) map[string]*ast.File {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil || len(paths) == 0 {
		t.Fatal(err, len(paths))
	}
	files := map[string]*ast.File{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = file
	}
	return files
}

// declared maps each name at the top of a file, and each method of a type, to the family of its file.
func declared(files map[string]*ast.File) (names, methods map[string]string) {
	names, methods = map[string]string{}, map[string]string{}
	for path, file := range files {
		for name := range file.Scope.Objects {
			names[name] = familyOf(path)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil {
				methods[f.Name.Name+" of "+receiver(f)] = familyOf(path)
			}
		}
	}
	return names, methods
}

func receiver(f *ast.FuncDecl) string {
	kind := f.Recv.List[0].Type
	if star, ok := kind.(*ast.StarExpr); ok {
		kind = star.X
	}
	return kind.(*ast.Ident).Name
}

// TestFamiliesStandApart: no file of one family, and no shared one, uses a name of the other family.
// A method counts where its type is shared, so that anybody could call it.
func TestFamiliesStandApart(t *testing.T) {
	files := parseSources(t)
	names, methods := declared(files)
	foreign := map[string]string{} // methods of shared types, by name
	for method, family := range methods {
		name, of, _ := strings.Cut(method, " of ")
		if family != "shared" && names[of] == "shared" {
			foreign[name] = family
		}
	}
	for path, file := range files {
		own := familyOf(path)
		report := func(name, family string) {
			if path != chooser && family != "" && family != "shared" && family != own {
				t.Errorf("%s uses %s, which belongs to %s", path, name, family)
			}
		}
		for _, use := range file.Unresolved {
			report(use.Name, names[use.Name])
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if use, ok := n.(*ast.SelectorExpr); ok {
				report(use.Sel.Name, foreign[use.Sel.Name])
			}
			return true
		})
	}
	if names["kvPool"] != "blis" || names["v1Pool"] != "v1" || names["Result"] != "shared" || foreign["arriveV1"] != "v1" {
		t.Error("the test does not see the declarations any more")
	}
}
