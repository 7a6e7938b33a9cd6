// Code generated from v4.go by go generate. DO NOT EDIT.

package main

import (
	"context"
	"encoding/json"
	"errors"

	events "github.com/workos/workos-go/v6/pkg/events"
	webhooks "github.com/workos/workos-go/v6/pkg/webhooks"
	failures "github.com/workos/workos-go/v6/pkg/workos_errors"
)

type v6 struct{ events *events.Client }

func connectV6(url, key string) library {
	return v6{&events.Client{APIKey: key, Endpoint: url}}
}

func (l v6) list(ctx context.Context, f filter) (ids []string, after string, err error) {
	page, err := l.events.ListEvents(ctx, events.ListEventsOpts{
		Events: f.types, Limit: f.limit, After: f.after, RangeStart: f.start, RangeEnd: f.end,
	})
	for _, e := range page.Data {
		ids = append(ids, e.ID)
	}
	return ids, page.ListMetadata.After, err
}

func (l v6) listAll(ctx context.Context, f filter) ([]string, error) { return readAll(ctx, l, f) }

func (l v6) accept(secret, signature, body string) (id, user string, err error) {
	body, err = webhooks.NewClient(secret).ValidatePayload(signature, body)
	if err != nil {
		return "", "", err
	}
	// The library has no type for the event; its users write their own.
	var e struct {
		ID   string
		Data struct {
			User string `json:"user_id"`
		}
	}
	err = json.Unmarshal([]byte(body), &e)
	return e.ID, e.Data.User, err
}

func (v6) refusal(err error) (status int, codes []string) {
	refused, ok := errors.AsType[failures.HTTPError](err)
	if !ok {
		return 0, nil
	}
	for _, f := range refused.FieldErrors {
		codes = append(codes, f.Code)
	}
	return refused.Code, codes
}

func (v6) errForged() error { return webhooks.ErrNoValidSignature }
