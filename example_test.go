package countersign_test

import (
	"context"
	"log"
	"net/http"
	"os"

	countersign "github.com/countersign-mfa/countersign"
)

// A gateway hands text messages to an SMS provider.
type gateway struct{}

func (gateway) Send(ctx context.Context, to, text string) error {
	return nil // where it was accepted
}

// The API can be served by a program that does other things as well. Its callers
// use the URL of that program and an API key.
func Example() {
	ctx := context.Background()
	srv, err := countersign.New(ctx, countersign.Options{
		Store:        "sqlite:/var/lib/example/mfa.db",
		Sender:       gateway{},
		SMSCountries: []string{"US", "CA"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	key, err := srv.CreateAPIKey(ctx, "production", true) // once; it is not shown again
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("api-key", []byte(key), 0o600); err != nil {
		log.Fatal(err)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("Hello"))
	})
	mux.Handle("/", srv)
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", mux))
}
