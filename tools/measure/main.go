// Command measure prints figures of the shape of the code: lengths of functions
// and handlers, sizes of interfaces, references between the files of a package,
// branches on the kind of a factor and uses of time.Now. Run it from the root of
// the repository:
//
//	go -C tools run ./measure
//
// The figures are for comparison between two commits. They are not limits.
package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// root is the directory of the product's module, as seen from that of the tools.
const root = ".."

const module = "github.com/countersign-mfa/countersign/"

// Packages whose files are compared with each other.
var halls = []string{"internal/mfa", "internal/httpapi", "internal/delivery", "internal/idempotency"}

// Names of the kinds of factors, as constants of package mfa.
var kinds = map[string]bool{"TOTP": true, "SMS": true, "GenericOTP": true, "WebAuthn": true, "RecoveryCodes": true}

func main() {
	log.SetFlags(0)
	pkgs, err := packages.Load(&packages.Config{
		Dir:  root,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports | packages.NeedDeps,
	}, "./...")
	if err != nil {
		log.Fatal(err)
	}
	if packages.PrintErrors(pkgs) > 0 {
		os.Exit(1)
	}
	m := newMeasurement()
	for _, p := range pkgs {
		name := strings.TrimPrefix(p.PkgPath, module)
		if strings.HasPrefix(name, "internal/tools") || strings.HasPrefix(name, "bench/") || strings.HasSuffix(name, "test") {
			continue // programs and parts for tests
		}
		m.add(name, p)
	}
	m.print()
}

type measurement struct {
	functions, handlers []int
	interfaces          map[string]int            // methods by the interface's name
	arrows              map[string]map[arrow]bool // by package
	files               map[string]int            // by package
	branches            map[string]int            // on the kind of a factor, by file
	clocks              map[string]int            // uses of time.Now by file
	methods             map[string]int            // by receiver type
}

// An arrow says that one file uses a declaration of another of its package.
type arrow struct{ from, to string }

func newMeasurement() *measurement {
	return &measurement{
		interfaces: map[string]int{}, arrows: map[string]map[arrow]bool{}, files: map[string]int{},
		branches: map[string]int{}, clocks: map[string]int{}, methods: map[string]int{},
	}
}

func (m *measurement) add(name string, p *packages.Package) {
	m.files[name] = len(p.Syntax)
	for _, file := range p.Syntax {
		path := relative(p.Fset.Position(file.Package).Filename)
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Body != nil {
				m.function(name, p, f)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool { m.node(name, path, p, n); return true })
	}
	if slices.Contains(halls, name) {
		m.arrows[name] = arrowsOf(p)
	}
}

func (m *measurement) function(name string, p *packages.Package, f *ast.FuncDecl) {
	lines := p.Fset.Position(f.Body.Rbrace).Line - p.Fset.Position(f.Pos()).Line + 1
	m.functions = append(m.functions, lines)
	if isHandler(p, f) {
		m.handlers = append(m.handlers, lines)
	}
	if f.Recv != nil && len(f.Recv.List) > 0 {
		m.methods[name+"."+strings.TrimLeft(types.ExprString(f.Recv.List[0].Type), "*")]++
	}
}

// isHandler reports whether f is a method whose first parameter is an
// http.ResponseWriter.
func isHandler(p *packages.Package, f *ast.FuncDecl) bool {
	if f.Recv == nil || len(f.Type.Params.List) == 0 {
		return false
	}
	t := p.TypesInfo.TypeOf(f.Type.Params.List[0].Type)
	return t != nil && t.String() == "net/http.ResponseWriter"
}

func (m *measurement) node(name, path string, p *packages.Package, n ast.Node) {
	switch n := n.(type) {
	case *ast.TypeSpec:
		if t, ok := p.TypesInfo.TypeOf(n.Name).Underlying().(*types.Interface); ok {
			m.interfaces[name+"."+n.Name.Name] = t.NumMethods()
		}
	case *ast.SelectorExpr:
		if use := p.TypesInfo.Uses[n.Sel]; use != nil && use.Pkg() != nil && use.Pkg().Path() == "time" && use.Name() == "Now" {
			m.clocks[path]++
		}
	case *ast.BinaryExpr:
		if (n.Op == token.EQL || n.Op == token.NEQ) && (isKind(p, n.X) || isKind(p, n.Y)) {
			m.branches[path]++
		}
	case *ast.CaseClause:
		if slices.ContainsFunc(n.List, func(e ast.Expr) bool { return isKind(p, e) }) {
			m.branches[path]++
		}
	}
}

// isKind reports whether e is a constant that names a kind of factor.
func isKind(p *packages.Package, e ast.Expr) bool {
	var id *ast.Ident
	switch e := e.(type) {
	case *ast.Ident:
		id = e
	case *ast.SelectorExpr:
		id = e.Sel
	default:
		return false
	}
	c, ok := p.TypesInfo.Uses[id].(*types.Const)
	return ok && kinds[c.Name()] && c.Pkg().Path() == module+"internal/mfa"
}

// arrowsOf returns which files of a package use declarations of which others.
func arrowsOf(p *packages.Package) map[arrow]bool {
	arrows := map[arrow]bool{}
	for id, use := range p.TypesInfo.Uses {
		if use.Pkg() != p.Types || !isMember(use, p.Types) {
			continue
		}
		a := arrow{file(p, id.Pos()), file(p, use.Pos())}
		if a.from != a.to {
			arrows[a] = true
		}
	}
	return arrows
}

// isMember reports whether o is declared at the level of the package, or is a
// method of a type that is.
func isMember(o types.Object, pkg *types.Package) bool {
	if f, ok := o.(*types.Func); ok && f.Signature().Recv() != nil {
		return true
	}
	return o.Parent() == pkg.Scope()
}

func file(p *packages.Package, pos token.Pos) string { return relative(p.Fset.Position(pos).Filename) }

func relative(path string) string {
	dir, err := filepath.Abs(root)
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(dir, path); err == nil {
		return rel
	}
	return path
}

func (m *measurement) print() {
	fmt.Printf("%-52s %s\n", "functions: lines, median / 95 % / most", spread(m.functions))
	fmt.Printf("%-52s %s\n", "handlers: lines, median / 95 % / most", spread(m.handlers))
	fmt.Printf("%-52s %s\n", "largest interfaces, methods", top(m.interfaces, 3))
	fmt.Printf("%-52s %s\n", "types with the most methods", top(m.methods, 3))
	for _, name := range slices.Sorted(maps.Keys(m.arrows)) {
		n := m.files[name]
		fmt.Printf("%-52s %d of %d\n", "arrows between the "+fmt.Sprint(n)+" files of "+name, len(m.arrows[name]), n*(n-1)/2)
	}
	fmt.Printf("%-52s %d in %d files: %s\n", "branches on the kind of a factor", sum(m.branches), len(m.branches), top(m.branches, 9))
	fmt.Printf("%-52s %d in %d files: %s\n", "uses of time.Now", sum(m.clocks), len(m.clocks), top(m.clocks, 9))
}

func spread(lines []int) string {
	if len(lines) == 0 {
		return "none"
	}
	slices.Sort(lines)
	return fmt.Sprintf("%d / %d / %d", lines[len(lines)/2], lines[len(lines)*95/100], lines[len(lines)-1])
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// top returns the n largest counts with their names.
func top(counts map[string]int, n int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var out []string
	for _, name := range names[:min(n, len(names))] {
		out = append(out, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(out, ", ")
}
