package pgurl_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign-mfa/countersign/internal/pgurl"
)

func TestName(t *testing.T) {
	for _, tc := range []struct{ url, want string }{
		{"postgres://localhost/cs", "postgres://localhost/cs"},
		{"postgresql://app:s3cret@db/cs", "postgres://app@db/cs"},
		{"postgres://app:s3cret@db1:5432,db2:5433/cs?target_session_attrs=read-write&sslmode=require",
			"postgres://app@db1:5432,db2:5433/cs?target_session_attrs=read-write&sslmode=require"},
		{"postgres://app:p%40s3cret@[::1]:5432/cs", "postgres://app@[::1]:5432/cs"},
		{"postgres://app@%2Frun%2Fpostgresql/cs", "postgres://app@%2Frun%2Fpostgresql/cs"},
		{"postgres:///cs?host=/run/postgresql&password=s3cret", "postgres:///cs"},
		{"postgres://db/cs?sslpassword=s3cret&sslmode=verify-full", "postgres://db/cs?sslmode=verify-full"},
		{"postgres://db/cs?password_command=/bin/s3cret%20s3cret&allow_plaintext=yes", "postgres://db/cs?allow_plaintext=yes"},
		{"postgres://db/cs?allow_plaintext=s3cret", malformed},
		{"postgres://db/cs?password_command=%20", malformed},
		{"postgres://db/cs?pass%77ord=s3cret", malformed},
		{"postgres://app:Tr0ub@dor%s3cret@db/cs", malformed},
		{"postgres://app:p@s3cret@localhost", malformed},
		{"postgres://a:b#c?s3cret/x@db/cs", malformed},
		{"postgres://app:s3cret/x@db/cs", malformed},
		{"postgres://app:s3cret", malformed},
		{"postgres://db/cs?sslmode=s3cret", malformed},
		{"postgres://db/cs?s3cret", malformed},
		{"postgres://db/cs?password=a=s3cret", malformed},
		{"host=db password=s3cret", malformed},
	} {
		got := pgurl.Name(tc.url)
		if got != tc.want {
			t.Errorf("Name(%q) = %q; want %q", tc.url, got, tc.want)
		}
		if _, err := pgurl.Parse(tc.url); (err != nil) != (tc.want == malformed) || err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("Parse(%q) = %v", tc.url, err)
		}
	}
}

const malformed = "(a malformed PostgreSQL URL)"

// FuzzPassword puts a password into a URL as people paste it. Either the URL is
// refused with an error that does not depend on the password, or the driver takes
// all of it for the password, and nothing else for the host or the database.
func FuzzPassword(f *testing.F) {
	for _, password := range []string{
		"s3cret", "Tr0ub@dor%s3cret", "p@s3cret", "b#c?s3cret/x", "s3cret/x", "p%40s3cret", "a:b", "a,b", "a&b=c", "[::1]",
		"12345/x", "?password=s3cret", "é%zz", "a b", "a\x00b",
	} {
		f.Add(password)
	}
	errors := make(map[string]bool)
	for _, text := range []string{"x", "postgres:// ", "postgres://#", "postgres://a@b@c", "postgres://a?b?c", "postgres://%",
		"postgres://db/@", "postgres://db/a/b", "postgres://a^b", "postgres://db/?a"} {
		_, err := pgurl.Parse(text)
		errors[err.Error()] = true
	}
	f.Fuzz(func(t *testing.T, password string) {
		text := "postgres://app:" + password + "@db/cs"
		u, err := pgurl.Parse(text)
		if err != nil {
			if !errors[err.Error()] {
				t.Errorf("Parse(%q) = %v; want a fixed text", text, err)
			}
			if name := pgurl.Name(text); name != malformed {
				t.Errorf("Name(%q) = %q", text, name)
			}
			return
		}
		if got := u.String(); got != "postgres://app@db/cs" {
			t.Errorf("Name(%q) = %q", text, got)
		}
		cfg, err := pgconn.ParseConfig(text)
		if err != nil {
			return // the store replaces this error
		}
		want, err := url.PathUnescape(password)
		if err != nil || cfg.Host != "db" || cfg.Database != "cs" || cfg.User != "app" || want != "" && cfg.Password != want {
			t.Errorf("the driver reads %q as user %q, password %q, host %q, database %q", text, cfg.User, cfg.Password, cfg.Host, cfg.Database)
		}
	})
}
