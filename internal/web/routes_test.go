package web_test

import (
	"slices"
	"testing"

	"github.com/countersign-mfa/countersign/internal/web"
)

func TestRoutesNeedAPermission(t *testing.T) {
	var list web.Routes[int, string]
	list.Add("GET /a", "a", 1)
	list.Add("POST /a", "b", 1, 2)
	for name, add := range map[string]func(){
		"no permission":           func() { list.Add("GET /b", "c", 0) },
		"a zero among the others": func() { list.Add("GET /b", "c", 1, 0) },
		"a pattern twice":         func() { list.Add("GET /a", "c", 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: Add did not panic", name)
				}
			}()
			add()
		}()
	}
	got := list.All()
	if len(got) != 2 || got[0].Pattern != "GET /a" || got[1].Handler != "b" || !slices.Equal(got[1].Needs, []int{1, 2}) {
		t.Errorf("All = %+v", got)
	}
}
