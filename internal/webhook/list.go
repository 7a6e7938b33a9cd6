package webhook

import (
	"context"
	"slices"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// ListParams ask for one page of the endpoints of an environment.
type ListParams struct {
	Limit     int  // 1 to 100; 0 means 10
	Ascending bool // oldest first; otherwise newest first
	After     string
	Before    string
}

// A Page is a part of the endpoints of an environment, with the cursors of its neighbors.
type Page struct {
	Endpoints []Details
	Before    string // cursor of the page before this one; "" on the first page
	After     string // cursor of the page after this one; "" on the last page
}

const (
	defaultPage = 10
	maxPage     = 100
)

// Page lists endpoints of an environment. With After and Before, the page is between the two;
// with only Before, it ends at that endpoint. A cursor stays valid when its endpoint is
// deleted.
func (s *Service) Page(ctx context.Context, env mfa.EnvironmentID, p ListParams) (Page, error) {
	var e mfa.InvalidError
	cursor := func(field, text string) (id EndpointID) {
		if text == "" {
			return id
		}
		id, err := ParseEndpointID(text)
		if err != nil || id.Bucket() != BucketOf(env) {
			e.Fields = append(e.Fields, mfa.FieldError{Field: field, Code: "invalid_cursor", Message: field + " must be the id of an endpoint of this environment"})
		}
		return id
	}
	after, before := cursor("after", p.After), cursor("before", p.Before)
	if p.Limit < 0 || p.Limit > maxPage {
		e.Fields = append(e.Fields, mfa.FieldError{Field: "limit", Code: "out_of_range", Message: "limit must be from 1 to 100"})
	}
	if e.Fields != nil {
		return Page{}, &e
	}
	if p.Limit == 0 {
		p.Limit = defaultPage
	}
	all, err := s.List(ctx, env)
	if err != nil {
		return Page{}, err
	}
	if !p.Ascending {
		slices.Reverse(all)
	}
	// isBefore reports whether an endpoint comes before a cursor in the order of the list.
	isBefore := func(d *Details, id EndpointID) bool {
		order := slices.Compare(d.ID[:], id[:])
		return order < 0 && p.Ascending || order > 0 && !p.Ascending
	}
	first, end := 0, len(all)
	for i := range all {
		if p.After != "" && (isBefore(&all[i], after) || all[i].ID == after) {
			first = i + 1
		}
		if p.Before != "" && isBefore(&all[i], before) {
			end = i + 1
		} else if p.Before != "" && i == 0 {
			end = 0
		}
	}
	end = max(first, end)
	if p.Before != "" && p.After == "" {
		first = max(first, end-p.Limit)
	} else {
		end = min(end, first+p.Limit)
	}
	page := Page{Endpoints: all[first:end]}
	if len(page.Endpoints) == 0 {
		return page, nil
	}
	if first > 0 {
		page.Before = all[first].ID.String()
	}
	if end < len(all) {
		page.After = all[end-1].ID.String()
	}
	return page, nil
}
