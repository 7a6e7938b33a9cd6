package main

import (
	"context"
	"encoding/json"
	"errors"

	events "github.com/workos/workos-go/v4/pkg/events"
	webhooks "github.com/workos/workos-go/v4/pkg/webhooks"
	failures "github.com/workos/workos-go/v4/pkg/workos_errors"
)

type v4 struct{ events *events.Client }

func connectV4(url, key string) library {
	return v4{&events.Client{APIKey: key, Endpoint: url}}
}

func (l v4) list(ctx context.Context, f filter) (ids []string, after string, err error) {
	page, err := l.events.ListEvents(ctx, events.ListEventsOpts{
		Events: f.types, Limit: f.limit, After: f.after, RangeStart: f.start, RangeEnd: f.end,
	})
	for _, e := range page.Data {
		ids = append(ids, e.ID)
	}
	return ids, page.ListMetadata.After, err
}

func (l v4) listAll(ctx context.Context, f filter) ([]string, error) { return readAll(ctx, l, f) }

func (l v4) accept(secret, signature, body string) (id, user string, err error) {
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

func (v4) refusal(err error) (status int, codes []string) {
	refused, ok := errors.AsType[failures.HTTPError](err)
	if !ok {
		return 0, nil
	}
	for _, f := range refused.FieldErrors {
		codes = append(codes, f.Code)
	}
	return refused.Code, codes
}

func (v4) errForged() error { return webhooks.ErrNoValidSignature }
