package operator

import (
	"context"
	"errors"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/stats"
)

// The questions about statistics, and the answers.
type (
	StatsQuery    = stats.Query
	StatsStep     = stats.Step
	Stats         = stats.Stats
	StatsActivity = stats.Activity
	StatsNumbers  = stats.Numbers
	SMSStats      = stats.MessageStats
	SMSMessages   = stats.Messages
	Coverage      = stats.Coverage
)

// The steps of statistics.
const (
	StatsHour  = stats.Hour
	StatsDay   = stats.Day
	StatsMonth = stats.Month
)

// errNoStatistics is a fault of the program.
var errNoStatistics = errors.New("operator: Options.Statistics is not set")

// Stats returns the counts of the events of an environment by period. The error of a wrong
// query is an *mfa.InvalidError.
func (s *Service) Stats(ctx context.Context, env mfa.Environment, q StatsQuery) (Stats, error) {
	if s.opts.Statistics == nil {
		return Stats{}, errNoStatistics
	}
	return s.opts.Statistics.Stats(ctx, env.ID, q)
}

// SMSStats returns the counts and the cost of the messages of an environment. The prefixes of
// the last hours have their digits, if the keyset can be opened.
func (s *Service) SMSStats(ctx context.Context, env mfa.Environment, q StatsQuery) (SMSStats, error) {
	if s.opts.Statistics == nil {
		return SMSStats{}, errNoStatistics
	}
	answer, err := s.opts.Statistics.Messages(ctx, env, q)
	if err != nil || len(answer.Prefixes) == 0 {
		return answer, err
	}
	keys, err := s.opts.Keys(ctx)
	if err != nil {
		return answer, nil // references identify the prefixes as well
	}
	counters, err := s.store.Counters(ctx, env.ID)
	if err != nil {
		return answer, err
	}
	for i := range counters {
		if err := counters[i].Open(keys); err != nil {
			return answer, err
		}
	}
	known := stats.PrefixOf(counters)
	for i := range answer.Prefixes {
		answer.Prefixes[i].Prefix = known[answer.Prefixes[i].Reference]
	}
	return answer, nil
}

// Coverage returns how many users of an environment have one factor, two or more, and a factor
// that resists phishing. Coverage.Ended is zero if no server has counted them yet.
func (s *Service) Coverage(ctx context.Context, env mfa.Environment) (Coverage, error) {
	if s.opts.Statistics == nil {
		return Coverage{}, errNoStatistics
	}
	return s.opts.Statistics.Coverage(ctx, env.ID)
}
