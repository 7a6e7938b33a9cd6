package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/countersign-mfa/countersign/internal/tools/bench/bare"
	"github.com/countersign-mfa/countersign/internal/tools/bench/load"
)

// A process is one running server that is measured.
type process struct {
	name     string // "bare", "sqlite", "postgres", and what else tells it from others
	addr     string
	key      string
	args     []string
	log      string // file of its standard error
	cmd      *exec.Cmd
	ended    chan struct{}
	database int // process that keeps its rows; 0: it does so itself
	flows    map[string]load.Flow

	ready time.Duration // from its last start until it was
}

const readyWithin = time.Minute

// startBare starts the ceiling: this program again.
func (b *bench) startBare(ctx context.Context) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	one := []load.Factor{{ID: bare.FactorID, User: bare.User}}
	s := &process{name: "bare", addr: addr, key: "sk_live_of_nobody", args: []string{self, "bare", addr}, flows: flowsOver(one, one)}
	return s, b.boot(ctx, s)
}

// startStore starts countersign over a store as in production, except for raised
// limits, and without the request log.
func (b *bench) startStore(ctx context.Context, name string, st *stored, flags ...string) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	args := []string{
		st.build, "serve", "--addr", addr, "--store", st.store, "--keyset", "file:" + st.keyset, "--log-level", "warn",
		"--rate-limit", "60000000", "--free-failures", "100", "--factor-failures", "100",
	}
	if b.opts.profile {
		profile := fmt.Sprintf("%s-%s.pprof", b.results.Time.Format(stamp), strings.ReplaceAll(name, " ", "-"))
		args = append(args, "--cpu-profile", filepath.Join(b.opts.dir, profile))
	}
	s := &process{name: name, addr: addr, key: st.Key, args: append(args, flags...), database: st.database}
	if len(st.Generic) > 0 {
		s.flows = flowsOver(st.Generic, st.TOTP)
	}
	return s, b.boot(ctx, s)
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// boot starts a server and waits until it is ready. It is stopped with the bench.
func (b *bench) boot(ctx context.Context, s *process) error {
	s.log = filepath.Join(b.work, strings.ReplaceAll(s.name, " ", "-")+".log")
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Env = log, log, environment()
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, ended := s.cmd, make(chan struct{})
	s.ended = ended
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	b.running = append(b.running, s)
	if err := s.await(ctx); err != nil {
		return err
	}
	s.ready = time.Since(began)
	return nil
}

// environment returns this process's own, without what would configure countersign.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "COUNTERSIGN_") {
			env = append(env, v)
		}
	}
	return env
}

// await asks until the server is ready.
func (s *process) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/readyz", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+s.key)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-time.After(time.Millisecond):
		case <-s.ended:
			return fmt.Errorf("%s ended before it was ready:\n%s", s.name, s.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s was not ready in %v:\n%s", s.name, readyWithin, s.tail())
		}
	}
}

// tail returns the end of what a server has logged.
func (s *process) tail() string {
	b, _ := os.ReadFile(s.log)
	return string(b[max(0, len(b)-2000):])
}

// stop ends a server in good order. It may have ended before.
func (s *process) stop() error {
	select {
	case <-s.ended:
		return nil
	default:
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.ended:
	case <-time.After(readyWithin):
		s.cmd.Process.Kill()
		<-s.ended
		return fmt.Errorf("%s did not end by itself:\n%s", s.name, s.tail())
	}
	if code := s.cmd.ProcessState.ExitCode(); code > 0 && s.name != "bare" {
		return fmt.Errorf("%s ended with %d:\n%s", s.name, code, s.tail())
	}
	return nil
}

// serveBare is the ceiling's own process.
func serveBare(addr string) error {
	return http.ListenAndServe(addr, bare.Handler())
}

// flowsOver returns every flow by its name.
func flowsOver(generic, totp []load.Factor) map[string]load.Flow {
	many, one, users := load.NewFactors(generic), load.NewFactors(generic[:1]), load.NewFactors(totp)
	return map[string]load.Flow{
		"flow":           load.ChallengeVerify(many),
		"flow one":       load.ChallengeVerify(one),
		"flow keyed":     load.Keyed(load.ChallengeVerify(many)),
		"totp":           load.ChallengeTOTP(users),
		"wrong":          load.ChallengeWrong(many),
		"enroll totp":    load.EnrollTOTP,
		"enroll generic": load.EnrollGeneric,
		"get":            load.Get(many),
		"list":           load.List(users),
	}
}
