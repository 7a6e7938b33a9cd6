package server

import (
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/operatorapi"
	"github.com/countersign-mfa/countersign/internal/signin"
)

// wireOperatorAPI makes the operator API.
func (s *Server) wireOperatorAPI(operators *operator.Service, parts Parts) (err error) {
	opts := operatorapi.Options{RateLimit: s.cfg.RateLimit, Logger: s.log, Remote: s.remote, Now: parts.Now, Tracer: s.tracer, ConsoleURL: s.ConsoleURL()}
	if s.metrics != nil {
		opts.Observe = s.metrics.Request
	}
	s.operator, err = operatorapi.New(operatorapi.Parts{
		Keys: s.access, Operator: operators, Events: s.events, Webhooks: s.webhooks, SignIn: signin.NewService(s.store.signin, nil, signin.Options{Now: parts.Now}), Nodes: s.store.nodes,
	}, opts)
	return err
}

// servesOperatorAPI reports whether the operator API is at the address of the API. A server
// for development has it there.
func (s *Server) servesOperatorAPI() bool { return s.cfg.OperatorAPI == "on" || s.cfg.Inbox }
