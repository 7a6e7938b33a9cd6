package trace

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
)

// The types of this file are the messages of OTLP 1.x as JSON: names in lowerCamelCase, ids in
// hexadecimal, 64-bit integers as strings, enumerations as numbers.
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding

type traceRequest struct {
	ResourceSpans []resourceSpans `json:"resourceSpans"`
}

type resourceSpans struct {
	Resource   resource     `json:"resource"`
	ScopeSpans []scopeSpans `json:"scopeSpans"`
}

type resource struct {
	Attributes []keyValue `json:"attributes"`
}

type scopeSpans struct {
	Scope scope      `json:"scope"`
	Spans []spanJSON `json:"spans"`
}

type scope struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

type spanJSON struct {
	TraceID      string     `json:"traceId"`
	SpanID       string     `json:"spanId"`
	TraceState   string     `json:"traceState,omitempty"`
	ParentSpanID string     `json:"parentSpanId,omitempty"`
	Flags        uint32     `json:"flags"`
	Name         string     `json:"name"`
	Kind         Kind       `json:"kind"`
	Start        string     `json:"startTimeUnixNano"`
	End          string     `json:"endTimeUnixNano"`
	Attributes   []keyValue `json:"attributes,omitempty"`
	Status       *status    `json:"status,omitempty"`
}

type status struct {
	Code int `json:"code"`
}

type keyValue struct {
	Key   string `json:"key"`
	Value value  `json:"value"`
}

type value struct {
	Text   *string `json:"stringValue,omitempty"`
	Number string  `json:"intValue,omitempty"`
}

const (
	statusError      = 2
	flagKnowsRemote  = 0x100 // the next flag has a meaning
	flagRemoteParent = 0x200
)

// scopeName names the code that makes the spans.
const scopeName = "github.com/countersign-mfa/countersign"

// encodeSpans returns the body of a request to /v1/traces.
func (o Options) encodeSpans(spans []*Span) ([]byte, error) {
	all := make([]spanJSON, len(spans))
	for i, s := range spans {
		all[i] = s.json()
	}
	return json.Marshal(traceRequest{[]resourceSpans{{o.resource(), []scopeSpans{{scope{scopeName, o.Version}, all}}}}})
}

func (o Options) resource() resource {
	return resource{[]keyValue{textValue("service.name", o.Service), textValue("service.version", o.Version), textValue("service.instance.id", o.Instance)}}
}

func (s *Span) json() spanJSON {
	j := spanJSON{
		TraceID: hex.EncodeToString(s.context.Trace[:]), SpanID: hex.EncodeToString(s.context.Span[:]), TraceState: s.context.State,
		Flags: sampledFlag | flagKnowsRemote, Name: s.name, Kind: s.kind,
		Start: strconv.FormatInt(s.start.UnixNano(), 10), End: strconv.FormatInt(s.start.UnixNano()+s.took.Nanoseconds(), 10),
	}
	if s.parent != [8]byte{} {
		j.ParentSpanID = hex.EncodeToString(s.parent[:])
	}
	if s.remote {
		j.Flags |= flagRemoteParent
	}
	if s.failed {
		j.Status = &status{statusError}
	}
	for _, a := range s.attributes {
		if a.isText {
			j.Attributes = append(j.Attributes, textValue(a.key, a.text))
		} else {
			j.Attributes = append(j.Attributes, keyValue{a.key, value{Number: strconv.FormatInt(a.number, 10)}})
		}
	}
	return j
}

func textValue(key, text string) keyValue { return keyValue{key, value{Text: &text}} }
