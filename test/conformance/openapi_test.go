package conformance_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/testenv"
	"github.com/countersign-mfa/countersign/test/executable"
)

// TestOpenAPIIsLinted runs Redocly's linter on openapi.yaml, and on copies with
// mistakes that it must find: a misconfigured linter would find nothing.
func TestOpenAPIIsLinted(t *testing.T) {
	t.Parallel()
	node := testenv.Tool(t, "node")
	installed(t, "openapi", "node_modules/@redocly/cli")
	text, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if found := lint(t, node, string(text)); len(found) > 0 {
		t.Errorf("openapi.yaml:\n%s", strings.Join(found, "\n"))
	}
	for _, tc := range []struct{ rule, old, new string }{
		{"struct", "summary: Enroll a factor\n", "sumary: Enroll a factor\n"},
		{"no-unresolved-refs", "schemas/EnrolledFactor'", "schemas/EnroledFactor'"},
		{"no-unused-components", "    RateLimited:\n", "    Unused: { description: Unused. }\n    RateLimited:\n"},
		{"no-invalid-media-type-examples", "type: sms, phone_number: '+16073517112'", "type: sms, phone_number: none"},
		{"no-invalid-media-type-examples", "status: unavailable }", "status: unavailable, reason: none }"},
		{"no-invalid-parameter-examples", "example: asc", "example: upwards"},
		{"operation-operationId-unique", "operationId: getFactor\n", "operationId: deleteFactor\n"},
		{"response-contains-header", "Retry-After: { $ref: '#/components/headers/RetryAfter' }", "After: { $ref: '#/components/headers/RetryAfter' }"},
		{"rule/every-operation-with-a-key-has-401", "        '401': { $ref: '#/components/responses/Unauthorized' }\n", ""},
		{"rule/every-body-has-an-example", "              example: { status: unavailable }\n", ""},
		{"rule/every-example-says-what-it-shows", "summary: Phone, ", ""},
		{"rule/every-header-is-described", "      description: How to authenticate.\n", ""},
		{"rule/every-link-is-described", "\n              description: Delete the factor.\n", "\n"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			wrong := strings.Replace(string(text), tc.old, tc.new, 1)
			if wrong == string(text) {
				t.Fatalf("openapi.yaml has no %q", tc.old)
			}
			found := lint(t, node, wrong)
			if !slices.ContainsFunc(found, func(problem string) bool { return strings.HasPrefix(problem, tc.rule+":") }) {
				t.Errorf("found %q", found)
			}
		})
	}
}

// lint returns the problems of a document, each as "rule: message".
func lint(t *testing.T, node, document string) (found []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "openapi.yaml")
	if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "node_modules/@redocly/cli/bin/cli.js",
		"lint", path, "--config", "redocly.yaml", "--lint-config", "error", "--format", "json", "--max-problems", "1000")
	cmd.Dir = "openapi"
	cmd.Env = append(executable.Environment(), "REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true")
	out, err := cmd.Output()
	exit, failed := errors.AsType[*exec.ExitError](err)
	if err != nil && !failed {
		t.Fatal(err)
	}
	var report struct {
		Problems []struct{ RuleID, Message string }
	}
	if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
		if failed {
			t.Fatalf("the linter ended with %v:\n%s", err, exit.Stderr)
		}
		t.Fatalf("%v in %s", jsonErr, out)
	}
	for _, p := range report.Problems {
		found = append(found, p.RuleID+": "+p.Message)
	}
	if failed && len(found) == 0 {
		t.Fatalf("the linter ended with %v and no output", err)
	}
	return found
}

// reached lists the answers that the fuzzer must receive at least once. Without them
// its run would have tested almost nothing.
var reached = []string{
	"POST /auth/factors/enroll 201",
	"POST /auth/factors/enroll 400 invalid_json",
	"POST /auth/factors/enroll 401",
	"POST /auth/factors/enroll 422 invalid_phone_number",
	"POST /auth/factors/enroll 422 invalid_request_parameters",
	"GET /auth/factors/{id} 200",
	"GET /auth/factors/{id} 404 entity_not_found",
	"DELETE /auth/factors/{id} 204",
	"DELETE /auth/factors/{id} 404 entity_not_found",
	"POST /auth/factors/{id}/challenge 201",
	"POST /auth/factors/{id}/challenge 201 with a code",
	"POST /auth/factors/{id}/challenge 404 entity_not_found",
	"POST /auth/challenges/{id}/verify 201 valid",
	"POST /auth/challenges/{id}/verify 201 not valid",
	"POST /auth/challenges/{id}/verify 422 authentication_challenge_previously_verified",
	"POST /auth/factors/challenge 201",
	"POST /auth/factors/verify 201 valid",
	"POST /auth/factors/verify 201 not valid",
	"POST /user_management/users/{user_id}/auth_factors 201",
	"POST /user_management/users/{user_id}/auth_factors 422 invalid_request_parameters",
	"GET /user_management/users/{user_id}/auth_factors 200",
	"GET /user_management/users/{user_id}/auth_factors 422 invalid_request_parameters",
	"GET /events 200",
	"GET /events 422 invalid_request_parameters",
	"PUT /auth/factors/{id} 405 method_not_allowed",
}

// TestSchemathesis makes a fuzzer generate requests from openapi.yaml, both valid and
// invalid, one by one and in chains along its links. No answer may be 5xx, and each
// must be as documented.
func TestSchemathesis(t *testing.T) {
	t.Parallel()
	python := testenv.Tool(t, "python3")
	installed(t, "fuzz", "libraries/schemathesis/schemathesis")
	s := start(t, "--rate-limit", "1000000")
	store := s.store
	auth := filepath.Join(t.TempDir(), "auth.json")
	writeKeys(t, auth, map[string]string{"ours": s.APIKey, "theirs": anotherKey(t, store)})

	seed, err := strconv.Atoi(cmp.Or(os.Getenv("COUNTERSIGN_FUZZ_SEED"), "1"))
	if err != nil {
		t.Fatalf("COUNTERSIGN_FUZZ_SEED: %v", err)
	}
	t.Logf("the seed is %d; COUNTERSIGN_FUZZ_SEED chooses another", seed)
	answers := map[string]int{}
	fuzz := func(seed int, args ...string) {
		report := filepath.Join(t.TempDir(), "report.json")
		args = append([]string{"-m", "schemathesis.cli", "--config-file", absolute(t, "fuzz/schemathesis.toml"),
			"run", s.URL + "/openapi.yaml", "--seed", strconv.Itoa(seed)}, args...)
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, python, args...)
		cmd.Dir = t.TempDir() // for the files that it leaves behind
		cmd.Env = append(executable.Environment(),
			"PYTHONPATH="+absolute(t, "fuzz/libraries/schemathesis"), "PYTHONNOUSERSITE=1", "PYTHONDONTWRITEBYTECODE=1",
			"PYTHONHASHSEED=0", "PYTHONUTF8=1",
			"COUNTERSIGN_FUZZ_HOOKS="+absolute(t, "fuzz/hooks.py"),
			"COUNTERSIGN_FUZZ_AUTH="+auth, "COUNTERSIGN_FUZZ_REPORT="+report)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		readAnswers(t, report, answers)
	}
	fuzz(seed, "--phases", "examples,coverage,fuzzing", "--max-examples", "250")
	// Both stateful runs may end before their time is over, and are then started again.
	fuzz(seed, "--phases", "stateful", "--max-time", "30")
	codes := []string{"--phases", "stateful", "--max-time", "20"}
	for _, id := range []string{"enrollFactor", "challengeFactor", "challengeFactorByBody", "verifyChallenge", "verifyChallengeByBody"} {
		codes = append(codes, "--include-operation-id", id)
	}
	// Among all operations few chains reach a right code. How many chains run in the
	// time depends on the machine.
	for round := range 8 {
		if fuzz(seed+round, codes...); t.Failed() || len(notReached(answers)) == 0 {
			break
		}
	}
	for _, answer := range notReached(answers) {
		t.Errorf("no request was answered %s", answer)
	}
	if t.Failed() || testing.Verbose() {
		var table strings.Builder
		for _, answer := range slices.Sorted(maps.Keys(answers)) {
			fmt.Fprintf(&table, "%6d %s\n", answers[answer], answer)
		}
		t.Logf("requests by their answer:\n%s", &table)
	}
}

// notReached returns the answers of reached that are missing.
func notReached(answers map[string]int) (none []string) {
	for _, answer := range reached {
		if answers[answer] == 0 {
			none = append(none, answer)
		}
	}
	return none
}

// anotherKey creates an API key in another environment of a store.
func anotherKey(t *testing.T, store string) string {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "key", "create", "--env", "theirs", "--store", store)
	cmd.Env = executable.Environment()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("key create: %v", err)
	}
	key := strings.TrimSpace(string(out))
	logcapture.Secret(t, key)
	return key
}

// writeKeys writes API keys, each with its owner's name, in the format that
// Schemathesis reads.
func writeKeys(t *testing.T, path string, keys map[string]string) {
	t.Helper()
	type header struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	type entry struct {
		Name    string   `json:"name"`
		Headers []header `json:"fixedHeaders"`
	}
	var entries []entry
	for name, key := range keys {
		entries = append(entries, entry{name, []header{{"Authorization", "Bearer " + key}}})
	}
	text, err := json.Marshal(map[string]any{"auth": entries})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// readAnswers adds the counts of hooks.py, and registers the secrets for the search in
// the logs.
func readAnswers(t *testing.T, path string, answers map[string]int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Answers map[string]int
		Secrets []string
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", path, err))
	}
	for answer, n := range report.Answers {
		answers[answer] += n
	}
	logcapture.Secret(t, report.Secrets...)
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
