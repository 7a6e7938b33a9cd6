package storetest

import (
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// Run tests every promise of mfa.Store. open returns an empty store.
func Run(t *testing.T, open func(*testing.T) mfa.Store) {
	check := func(promise string, test func(*testing.T, mfa.Store)) {
		t.Run(promise, func(t *testing.T) { test(t, open(t)) })
	}
	check("a row that is not stored is nil", unknownIsNil)
	check("every field of a factor comes back", factorComesBack)
	check("every field of a challenge comes back", challengeComesBack)
	check("every field of a phone limit comes back", phoneComesBack)
	check("every field of a tally comes back", tallyComesBack)
	check("every field of a message reference comes back", messageComesBack)
	check("every field of a replay record comes back", replayComesBack)
	check("every field of an event comes back", eventComesBack)
	check("a user is found by environment and id", userIsFoundByKey)

	check("a factor brings its user", factorBringsUser)
	check("a challenge brings its factor and that factor's user", challengeBringsFactor)
	check("a challenge whose factor is gone is not read", orphanIsNotRead)
	check("a replay record belongs to its bucket", replaysAreApart)
	check("one read brings rows of several kinds", readBringsSeveral)
	check("tallies are read in the order in which they are asked for", talliesKeepOrder)
	check("an update of a factor changes only its own fields", factorUpdateIsPartial)
	check("sealing a factor empties the plain columns of an older release", factorIsSealed)
	check("the failures of a user without factors wait under another name", failuresOutliveFactors)
	check("the failures of a user without factors expire", formerUsersExpire)
	check("an update of a challenge changes only its own fields", challengeUpdateIsPartial)
	check("a put row replaces the stored one", putReplaces)
	check("a deleted row is gone", deleteRemoves)
	check("the answer of a replay is forgotten, and nothing else of it", replayIsForgotten)
	check("deleting a missing row is not an error", deleteRepeats)
	check("writes are made in their order", writesKeepOrder)
	check("the rows of an Update are its own", rowsAreOwn)

	check("an error from fn leaves no trace and comes back", failedUpdateLeavesNothing)
	check("a panic in fn leaves no trace and the store in order", panicLeavesNothing)
	check("an impossible write fails only its own Update", impossibleWriteFails)
	check("good Updates are stored next to bad ones", goodBesideBad)
	check("a refusal next to bad Updates is a refusal", refusalBesideBad)

	check("a stored row is visible at once", storedIsSeen)
	check("an Update that writes nothing succeeds", emptyUpdateSucceeds)
	check("a View is of one moment", viewIsOfOneMoment)
	check("Updates of one row follow one another", countersAreExact)
	check("no count is lost in a tally, new or old", talliesAreExact)
	check("changes of a refused Update to its rows are not visible to others", refusedLeavesRowsAlone)
	check("of 64 racing attempts one wins", oneRacerWins)
	check("no more guesses are counted than are allowed", guessesAreBounded)
	check("a replay record is there if and only if its effect is", replayGoesWithEffect)
	check("an Update that is cancelled before it starts is not stored", cancelledBeforeIsNotStored)
	check("a cancelled Update fails or is stored, never both", cancelledIsStoredOrFails)
	check("a cancelled read fails and the next does not", cancelledReadFails)

	check("every event is on one page, after the earlier ones of its environment", eventsArePaged)
	check("events are filtered", eventsAreFiltered)
	check("a reader continues after an event that was removed", cursorOutlivesEvents)
	check("every factor is on one page", factorsArePaged)
	check("a user's factors are listed in both directions", factorsBothWays)
	check("a user's factors are listed between two ids", factorsBetween)
	check("a list has only the factors of its user", factorsAreOwn)
	check("the tallies of an environment are listed, and no others", talliesAreListed)

	check("a sweep removes only expired rows", sweepKeepsTime)
	check("a step of a sweep removes at most its limit of each kind", sweepKeepsLimit)
	check("the last step of a sweep leaves nothing to remove", sweepIsComplete)
	check("a sweep to a time before all rows removes nothing", sweepKeepsAll)
	check("a sweep removes no factor and no user", sweepKeepsFactors)
	check("a store that can be asked says that it is there", pingAnswers)
}
