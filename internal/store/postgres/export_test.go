package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/store/queue"
)

// Hurry shortens the time limits of an unused store: for a round trip, and to find the
// result of a commit.
func (s *Store) Hurry(roundTrip, resolve time.Duration) {
	s.wait = waits{roundTrip, resolve, patience, 2 * roundTrip, roundTrip}
}

// Patience sets how long the groups of an unused store wait for a lock. StallAfter sets
// how long commits may take before requests are refused.
func (s *Store) Patience(d time.Duration)   { s.wait.patience = d }
func (s *Store) StallAfter(d time.Duration) { s.wait.stall = d }

// Single reports whether each Update has a separate transaction.
func (s *Store) Single() bool { return s.single() }

// Known returns how many migrations this program knows.
func Known() int {
	all, err := known()
	if err != nil {
		panic(err)
	}
	return len(all)
}

// RequestStatements returns the statements of the request path by name, with the
// locks that an Update adds.
func RequestStatements() map[string]string {
	return map[string]string{
		"selectChallenge":     selectChallenge,
		"unscheduleErasure":   unscheduleErasure,
		"cancelErasure":       cancelErasure,
		"eraseContexts":       eraseContexts,
		"eraseFactors":        eraseFactors,
		"sealContext":         sealContext,
		"sealDeletedFactor":   sealDeletedFactor,
		"lockChallenge":       selectChallenge + forUpdate.on("c, f"),
		"selectChallengeUser": selectChallengeUser,
		"lockChallengeUser":   selectChallengeUser + forUpdate.on("u"),
		"selectFactor":        selectFactor,
		"lockFactor":          selectFactor + forUpdate.on("f"),
		"selectFactorUser":    selectFactorUser,
		"lockFactorUser":      selectFactorUser + forUpdate.on("u"),
		"selectCreated":       selectCreated,
		"selectUser":          selectUser,
		"lockUser":            selectUser + forUpdate.on("u"),
		"selectPhone":         selectPhone,
		"lockPhone":           selectPhone + forUpdate.on("p"),
		"selectTally":         selectTally,
		"lockTally":           selectTally + forUpdate.on("y"),
		"countOwned":          countOwned,
		"selectOwned":         selectOwned,
		"selectTallies":       selectTallies,
		"selectMessage":       selectMessage,
		"lockMessage":         selectMessage + forUpdate.on("m"),
		"selectBypass":        selectBypass,
		"lockBypass":          selectBypass + forUpdate.on("w"),
		"selectReplay":        selectReplay,
		"lockReplay":          selectReplay + forUpdate.on("r"),
		"confirmEvent":        confirmEvent,
		"updateFactor":        factorStates.update,
		"deleteFactor":        deleteFactor,
		"updateChallenge":     challengeStates.update,
		"deleteChallenge":     deleteChallenge,
		"updateUser":          users.update,
		"deleteUser":          deleteUser,
		"updatePhone":         phones.update,
		"updateTally":         tallies.update,
		"updateMessage":       messages.update,
		"updateBypass":        bypasses.update,
		"deleteBypass":        deleteBypass,
		"updateReplay":        replays.update,
		"forgetReplay":        forgetReplay,
		"deleteReplay":        deleteReplay,
		"seeFactor":           seeFactor,
		"seeChallenge":        seeChallenge,
		"selectFactorsUp":     selectFactorsUp,
		"selectFactorsDown":   selectFactorsDown,
		"selectCounted":       selectCounted,
		"lockCounted":         lockCounted,
		"updateCounted":       statisticPosition.update,
		"selectStatistic":     selectStatistic,
		"selectStatistics":    selectStatistics,
	}
}

// GroupStatements returns the statements for all rows of a group by name, and the
// statement that comes first in their transaction.
func GroupStatements() (first string, byName map[string]string) {
	return "SELECT " + searchOnly, map[string]string{
		"lockChallenges":     lockChallenges,
		"lockFactorsAndFind": lockFactorsAndFind,
		"lockUsersAndFind":   lockUsersAndFind,
		"lockFactors":        lockFactors,
		"lockReplays":        lockReplays,
		"findCreated":        findCreated,
		"lockUsers":          lockUsers,
		"seeFactors":         seeFactors,
		"seeChallenges":      seeChallenges,
		"updateFactors":      factorStates.updateMany,
		"updateChallenges":   challengeStates.updateMany,
	}
}

// Inserts returns the statements of the request path that read no table.
func Inserts() []string {
	return []string{
		factors.insert, challenges.insert, users.insert, phones.insert, tallies.insert, messages.insert, bypasses.insert, replays.insert, eventRows.insert,
	}
}

// SweepStatements returns the statements of the sweep by name.
func SweepStatements() map[string]string {
	return map[string]string{
		"sweepChallenges": sweepChallenges,
		"sweepReplays":    sweepReplays,
		"sweepBypasses":   sweepBypasses,
		"sweepPhones":     sweepPhones,
		"sweepTallies":    sweepTallies,
		"sweepMessages":   sweepMessages,
		"sweepStatistics": sweepStatistics,
	}
}

// HoldingsStatement reads the factors of one bucket in the background.
func HoldingsStatement() string { return selectHoldings }

// PagingStatements returns the statements that read all buckets.
func PagingStatements() map[string]string {
	return map[string]string{
		"selectFactorsAfter": selectFactorsAfter,
		"factorsByPhone":     selectFactorsByPhone,
		"selectExpired":      selectExpired,
		"exportEvents":       exportEvents,
		"selectEvents":       selectEvents,
		"selectNewestEvents": selectNewestEvents,
		"selectNewestBefore": selectNewestBefore,
		"selectNext":         selectNext,
		"selectNewest":       selectNewest,
		"nextEnvironment":    nextEnvironment,
		"selectOldEvents":    selectOldEvents,
		"sweepEvents":        sweepEvents,
		"listContexts":       listContexts,
		"listDeletedFactors": listDeletedFactors,
		"selectOldContexts":  selectOldContexts,
		"sweepContexts":      sweepContexts,
		"selectOldDeleted":   selectOldDeleted,
		"selectDueErasures":  selectDueErasures,
		"exportStatistics":   exportStatistics,
		"exportCounted":      exportCounted,
	}
}

// SubjectStatements returns the statements that find the events of a subject.
func SubjectStatements() map[string]string {
	return map[string]string{
		"selectOfChallenge": selectOfChallenge,
		"newestOfChallenge": newestOfChallenge,
		"selectOfFactor":    selectOfFactor,
		"newestOfFactor":    newestOfFactor,
		"selectOfPerson":    selectOfPerson,
		"newestOfPerson":    newestOfPerson,
		"factorsOfUser":     factorsOfUser,
		"factorsOfPerson":   factorsOfPerson,
	}
}

// SweepLockKey is the advisory lock of the node that sweeps.
const SweepLockKey = sweepLockKey

// CreateVersions creates the table of applied migrations.
const CreateVersions = createVersions

// Tables returns all tables except the table of migrations. SpreadTables returns the
// tables that are distributed by bucket.
func Tables() []string       { return allTables() }
func SpreadTables() []string { return spreadTables }

// Distributed reports whether tables with the given placements are distributed.
func Distributed(tables []string, place func(table string) (method, model string, colocation int)) (bool, error) {
	var all []placement
	for _, table := range tables {
		p := placement{table: table}
		p.method, p.model, p.colocation = place(table)
		all = append(all, p)
	}
	return distributed(all)
}

// RaceToLane makes Updates that wait for the same row enter its lane at the same time.
// It returns how many of them were answered before ctx ended.
func RaceToLane(ctx context.Context, updates int) (answered int) {
	s := &Store{now: time.Now, group: 1, queue: queue.New[*job](updates)}
	s.stalled.Store(true) // the lane refuses its jobs without a database
	var together sync.WaitGroup
	together.Add(updates)
	for range updates {
		s.serving.Go(func() {
			s.queue.Serve(1, nil, func(waiting []*queue.Job[*job], _ *queue.Hold) {
				j := waiting[0].Work
				j.waiting = waiting[0]
				together.Done()
				together.Wait()
				s.openLane("row", j)
				if j.moved {
					waiting[0] = nil
				}
			}, func() {})
		})
	}
	errs := make(chan error, updates)
	var callers sync.WaitGroup
	for range updates {
		callers.Go(func() { errs <- s.queue.Do(context.Background(), &job{}) })
	}
	for range updates {
		select {
		case err := <-errs:
			if errors.Is(err, errStalled) {
				answered++
			}
		case <-ctx.Done():
			return answered
		}
	}
	callers.Wait()
	s.queue.Close()
	s.serving.Wait()
	return answered
}
