// Command countersign serves authentication factors and challenges over HTTP.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/countersign-mfa/countersign/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := cli.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
