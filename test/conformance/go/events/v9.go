package main

import (
	"context"
	"errors"

	"github.com/workos/workos-go/v9"
)

type v9 struct{ events *workos.EventService }

func connectV9(url, key string) library {
	return v9{workos.NewClient(key, workos.WithBaseURL(url)).Events()}
}

func (l v9) iterate(ctx context.Context, f filter) *workos.Iterator[workos.EventSchema] {
	return l.events.List(ctx, &workos.EventsListParams{
		PaginationParams: workos.PaginationParams{Limit: &f.limit, After: optional(f.after)},
		Events:           f.types,
		RangeStart:       optional(f.start),
		RangeEnd:         optional(f.end),
	})
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// list reads all pages, of which a full one of this size is the only one.
func (l v9) list(ctx context.Context, f filter) (ids []string, after string, err error) {
	all := l.iterate(ctx, f)
	for all.Next() {
		ids = append(ids, all.Current().ID)
	}
	return ids, "", all.Err()
}

func (l v9) listAll(ctx context.Context, f filter) ([]string, error) {
	ids, _, err := l.list(ctx, f)
	return ids, err
}

func (l v9) accept(secret, signature, body string) (id, user string, err error) {
	e, err := workos.NewWebhookVerifier(secret).ConstructEvent(signature, body)
	if err != nil {
		return "", "", err
	}
	user, _ = e.Data["user_id"].(string)
	return e.ID, user, nil
}

func (v9) refusal(err error) (status int, codes []string) {
	refused, ok := errors.AsType[*workos.UnprocessableEntityError](err)
	if !ok {
		return 0, nil
	}
	return refused.StatusCode, nil
}

func (v9) errForged() error { return workos.ErrWebhookNoValidSignature }
