package sqlite

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestRequestsSearch reads the query plan of each statement that a request or the sweep
// runs. Each must search through a key or an index, without sorting.
func TestRequestsSearch(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "countersign.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, sql := range map[string]string{
		"selectChallenge":    selectChallenge,
		"selectFactor":       selectFactor,
		"selectUser":         selectUser,
		"selectOwned":        selectOwned,
		"selectPhone":        selectPhone,
		"selectTally":        selectTally,
		"selectMessage":      selectMessage,
		"selectReplay":       selectReplay,
		"selectCreated":      selectCreated,
		"insertFactor":       factors.insert,
		"updateFactor":       factorStates.update,
		"deleteFactor":       deleteFactor,
		"insertChallenge":    challenges.insert,
		"updateChallenge":    challengeStates.update,
		"deleteChallenge":    deleteChallenge,
		"putUser":            users.put,
		"deleteUser":         deleteUser,
		"putPhone":           phones.put,
		"putTally":           tallies.put,
		"putMessage":         messages.put,
		"selectBypass":       selectBypass,
		"putBypass":          bypasses.put,
		"deleteBypass":       deleteBypass,
		"sweepBypasses":      sweepBypasses,
		"putReplay":          replays.put,
		"deleteReplay":       deleteReplay,
		"insertEvent":        eventRows.insert,
		"selectFactorsUp":    selectFactorsUp,
		"selectFactorsDown":  selectFactorsDown,
		"selectFactorsAfter": selectFactorsAfter,
		"factorsByPhone":     selectFactorsByPhone,
		"selectExpired":      selectExpired,
		"selectEvents":       selectEvents,
		"selectNewestEvents": selectNewestEvents,
		"selectOfChallenge":  selectOfChallenge,
		"newestOfChallenge":  newestOfChallenge,
		"selectOfFactor":     selectOfFactor,
		"newestOfFactor":     newestOfFactor,
		"selectInTail":       selectInTail,
		"newestInTail":       newestInTail,
		"firstSegmentAfter":  firstSegmentAfter,
		"lastSegment":        lastSegment,
		"firstSegment":       firstSegment,
		"nextWithSegments":   nextWithSegments,
		"nextEnd":            nextEnd,
		"emptySegment":       emptySegment,
		"deleteSegment":      deleteSegment,
		"addToSegment":       addToSegment,
		"selectOfPerson":     selectOfPerson,
		"newestOfPerson":     newestOfPerson,
		"factorsOfUser":      factorsOfUser,
		"factorsOfPerson":    factorsOfPerson,
		"sweepChallenges":    sweepChallenges,
		"sweepEventsOf":      sweepEventsOf,
		"lastEventOf":        lastEventOf,
		"nextEnvironment":    nextEnvironment,
		"ownerOfEvent":       ownerOfEvent,
		"deletedOwner":       deletedOwner,
		"contextOfEvent":     contextOfEvent,
		"sweepReplays":       sweepReplays,
		"sweepContexts":      sweepContexts,
		"sweepDeleted":       sweepDeleted,
		"eraseDueContexts":   eraseDueContexts,
		"eraseDueFactors":    eraseDueFactors,
		"eraseDone":          eraseDone,
		"scheduleErasure":    scheduleErasure,
		"cancelErasure":      cancelErasure,
		"eraseContexts":      eraseContexts,
		"eraseFactors":       eraseFactors,
		"sealContext":        sealContext,
		"sealDeletedFactor":  sealDeletedFactor,
		"selectTallies":      selectTallies,
		"sweepPhones":        sweepPhones,
		"sweepTallies":       sweepTallies,
		"sweepMessages":      sweepMessages,
		"selectEndpoint":     selectEndpoint,
		"selectEndpoints":    selectEndpoints,
		"insertEndpoint":     endpoints.insert,
		"updateEndpoint":     endpoints.update,
		"deleteEndpoint":     deleteEndpoint,
		"endDeliveries":      deleteEndpointDeliveries,
		"claimEndpoint":      claimEndpoint,
		"selectDue":          selectDue,
		"selectAttempts":     selectAttempts,
		"putDelivery":        deliveries.put,
		"deleteDelivery":     deleteDelivery,
		"reschedule":         reschedule,
		"sweepDeliveries":    sweepDeliveries,
		"sweepAttempts":      sweepAttempts,
		"selectKeyByHash":    selectKey,
		"revokeKey":          revokeKey,
		"selectCounted":      selectCounted,
		"putCounted":         statisticPosition.put,
		"selectStatistic":    selectStatistic,
		"selectStatistics":   selectStatistics,
		"putStatistic":       statisticRows.put,
		"sweepStatistics":    sweepStatistics,
		"selectHoldings":     selectHoldings,
		"exportStatistics":   exportStatistics,
		"exportCounted":      exportCounted,
		"selectMeta":         selectMeta,
		"swapMeta":           swapMeta,
	} {
		t.Run(name, func(t *testing.T) {
			searched := strings.HasPrefix(sql, "INSERT")
			err := s.writer.prepare("EXPLAIN QUERY PLAN " + sql).each(func(row *rowReader) error {
				step := row.ColumnText(3)
				searched = searched || strings.HasPrefix(step, "SEARCH ")
				if strings.Contains(step, "SCAN") && step != "SCAN CONSTANT ROW" || strings.Contains(step, "TEMP B-TREE") {
					t.Errorf("%s\n%s", step, sql)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if !searched {
				t.Errorf("no search\n%s", sql)
			}
		})
	}
}

// TestCommitsAreDurable checks the settings that make a commit survive a power failure
// on every connection. A test cannot cause a power failure.
func TestCommitsAreDurable(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "countersign.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conns := append([]*conn{s.writer, s.checkpoint.c}, s.readers...)
	for range s.scanning {
		c := <-s.scanners
		defer func() { s.scanners <- c }()
		conns = append(conns, c)
	}
	for _, c := range conns {
		for pragma, want := range map[string]string{
			"journal_mode":  "wal",
			"synchronous":   "2", // FULL
			"foreign_keys":  "1",
			"secure_delete": "2", // FAST
		} {
			err := c.prepare("PRAGMA " + pragma).each(func(row *rowReader) error {
				if got := row.text(); got != want {
					t.Errorf("%s is %s; want %s", pragma, got, want)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}
