package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/web"
)

// faults are the faults that tests of applications have asked for.
type faults struct {
	closing chan struct{} // ends the faults in progress

	mu   sync.Mutex
	next []fault
}

// A fault happens to the next requests of one environment on one route.
type fault struct {
	environment mfa.EnvironmentID
	route       string
	kind        string
	left        int // requests
}

const (
	maxFaults    = 1000 // requests of one order, and orders in all
	longestFault = time.Minute
)

var errFault = errors.New("a test has asked for this fault")

// faultKinds has what happens to a request, by the name of the fault.
var faultKinds = map[string]func(w http.ResponseWriter, r request, h handler, closing <-chan struct{}) error{
	"429": func(http.ResponseWriter, request, handler, <-chan struct{}) error {
		return &web.RateError{Wait: time.Second}
	},
	"500": func(http.ResponseWriter, request, handler, <-chan struct{}) error { return errFault },
	"503": func(http.ResponseWriter, request, handler, <-chan struct{}) error {
		return fmt.Errorf("%w: %w", mfa.ErrUnavailable, errFault)
	},
	"timeout": func(_ http.ResponseWriter, r request, _ handler, closing <-chan struct{}) error {
		select {
		case <-closing:
		case <-r.Context().Done():
		case <-time.After(longestFault):
		}
		panic(http.ErrAbortHandler) // closes the connection
	},
	"lost_answer": func(w http.ResponseWriter, r request, h handler, _ <-chan struct{}) error {
		if err := h(unsent{w.Header().Clone()}, r); err != nil {
			return err
		}
		panic(http.ErrAbortHandler)
	},
}

// unsent is an http.ResponseWriter whose answer is not sent.
type unsent struct{ header http.Header }

func (u unsent) Header() http.Header       { return u.header }
func (unsent) Write(b []byte) (int, error) { return len(b), nil }
func (unsent) WriteHeader(int)             {}

// around returns h with the faults of a route.
func (f *faults) around(route string, h handler) handler {
	return func(w http.ResponseWriter, r request) error {
		if kind := f.take(r.key.Environment.ID, route); kind != "" {
			return faultKinds[kind](w, r, h, f.closing)
		}
		return h(w, r)
	}
}

// take returns the kind of the fault of a request, or "".
func (f *faults) take(env mfa.EnvironmentID, route string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.next, func(next fault) bool { return next.environment == env && next.route == route })
	if i < 0 {
		return ""
	}
	kind := f.next[i].kind
	if f.next[i].left--; f.next[i].left == 0 {
		f.next = slices.Delete(f.next, i, i+1)
	}
	return kind
}

// add orders a fault. It reports false if there are too many.
func (f *faults) add(next fault) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.next) >= maxFaults {
		return false
	}
	f.next = append(f.next, next)
	return true
}

// list returns the faults of an environment that have not happened yet.
func (f *faults) list(env mfa.EnvironmentID) (all []fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, next := range f.next {
		if next.environment == env {
			all = append(all, next)
		}
	}
	return all
}

func (f *faults) clear(env mfa.EnvironmentID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = slices.DeleteFunc(f.next, func(next fault) bool { return next.environment == env })
}

// faultRoutes adds the routes of faults.
func (a *API) faultRoutes() {
	a.route("GET /dev/faults", a.listFaults, access.CallAPI)
	a.route("POST /dev/faults", a.orderFault, access.CallAPI)
	a.route("DELETE /dev/faults", a.clearFaults, access.CallAPI)
}

// orderFault serves POST /dev/faults.
func (a *API) orderFault(w http.ResponseWriter, r request) error {
	next := fault{environment: r.key.Environment.ID}
	count := "1"
	if err := decodeOnly(r.Content, text("route", &next.route), text("fault", &next.kind), anyText("count", &count)); err != nil {
		return err
	}
	var e mfa.InvalidError
	wrong := func(field, code, message string) {
		e.Fields = append(e.Fields, mfa.FieldError{Field: field, Code: code, Message: field + " must be " + message})
	}
	routes := a.faultyRoutes()
	if !slices.Contains(routes, next.route) {
		wrong("route", "unknown", "one of "+strings.Join(routes, ", "))
	}
	if faultKinds[next.kind] == nil {
		wrong("fault", "unknown", "429, 500, 503, timeout or lost_answer")
	}
	var err error
	if next.left, err = strconv.Atoi(count); err != nil || next.left < 1 || next.left > maxFaults {
		wrong("count", "out_of_range", fmt.Sprintf("a whole number from 1 to %d", maxFaults))
	}
	if e.Fields != nil {
		return &e
	}
	if !a.faults.add(next) {
		wrong("route", "too_many", "of a fault that has happened: too many wait")
		return &e
	}
	return a.listFaults(w, r)
}

// faultyRoutes lists the routes that can have faults.
func (a *API) faultyRoutes() (all []string) {
	for _, route := range a.needs.All() {
		if !strings.Contains(route.Pattern, " /dev/faults") && route.Pattern != "POST /dev/reset" && !strings.HasSuffix(route.Pattern, "/stream") {
			all = append(all, route.Pattern)
		}
	}
	return all
}

// listFaults serves GET /dev/faults.
func (a *API) listFaults(w http.ResponseWriter, r request) error {
	b := []byte(`{"object":"list","data":[`)
	for i, next := range a.faults.list(r.key.Environment.ID) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"object":"fault","route":`...)
		b = appendString(b, next.route)
		b = append(b, `,"fault":`...)
		b = appendString(b, next.kind)
		b = fmt.Appendf(b, `,"count":%d}`, next.left)
	}
	web.Send(w, http.StatusOK, append(b, `]}`...))
	return nil
}

// clearFaults serves DELETE /dev/faults.
func (a *API) clearFaults(w http.ResponseWriter, r request) error {
	if err := takesNothing(r); err != nil {
		return err
	}
	a.faults.clear(r.key.Environment.ID)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
