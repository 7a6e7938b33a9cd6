package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// calls makes the calls that it reads, one per line, as ../../kinds_test.go documents. The
// versions of this library have no method for requests of any other kind.
func calls(v version, installed string) error {
	l := v.connect(os.Getenv("COUNTERSIGN_URL"), os.Getenv("COUNTERSIGN_API_KEY"), false)
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]string{"version": installed}); err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var call []any
		if err := json.Unmarshal(in.Bytes(), &call); err != nil {
			return err
		}
		reply := map[string]any{}
		if value, err := makeCall(l, call); err != nil {
			reply["error"] = err.Error()
		} else {
			reply["value"] = value
		}
		if err := out.Encode(reply); err != nil {
			return err
		}
	}
	return in.Err()
}

func makeCall(l library, call []any) (map[string]any, error) {
	ctx := context.Background()
	args := make([]string, 3)
	for i, a := range call[:min(len(call), len(args))] {
		args[i], _ = a.(string)
	}
	switch args[0] {
	case "enroll":
		f, err := l.enroll(ctx, enrollment{kind: args[1]})
		return map[string]any{"id": f.id}, err
	case "challenge":
		c, err := l.challenge(ctx, args[1])
		return map[string]any{"id": c.id, "code": c.code}, err
	case "verify":
		v, err := l.verify(ctx, args[1], args[2])
		return map[string]any{"valid": v.valid}, err
	case "post":
		return nil, errors.New("there is no method for any request")
	default:
		return nil, fmt.Errorf("there is no call %q", args[0])
	}
}
