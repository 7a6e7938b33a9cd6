package recent_test

import (
	"testing"

	"github.com/countersign-mfa/countersign/internal/store/recent"
)

func TestMapRemembersRecentValues(t *testing.T) {
	var m recent.Map[int, int]
	const n = 10 * recent.Most
	for i := range n {
		m.Put(i, i)
		if v, ok := m.Get(max(0, i-recent.Most+1)); !ok || v != max(0, i-recent.Most+1) {
			t.Fatalf("after %d: one of the last %d is forgotten: %d, %t", i, recent.Most, v, ok)
		}
	}
	held := 0
	for i := range n {
		if _, ok := m.Get(i); ok {
			held++
		}
	}
	if held > 2*recent.Most {
		t.Errorf("remembers %d; want at most %d", held, 2*recent.Most)
	}
}

func TestMapReplacesAndForgets(t *testing.T) {
	var m recent.Map[string, int]
	check := func(when string, want int, held bool) {
		t.Helper()
		if v, ok := m.Get("a"); v != want || ok != held {
			t.Errorf("%s: %d, %t; want %d, %t", when, v, ok, want, held)
		}
	}
	m.Remove("a")
	m.Clear()
	check("empty", 0, false)
	m.Put("a", 1)
	for i := range recent.Most { // moves the value to the old generation
		m.Put(string(rune(i))+"b", 0)
	}
	check("old", 1, true)
	m.Put("a", 2)
	check("replaced", 2, true)
	m.Remove("a")
	check("removed", 0, false)
	m.Put("a", 3)
	m.Clear()
	check("cleared", 0, false)
}
