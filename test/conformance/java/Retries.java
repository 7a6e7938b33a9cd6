import com.fasterxml.jackson.databind.JsonNode;
import com.workos.common.exceptions.UnprocessableEntityException;
import com.workos.common.http.RequestOptions;
import com.workos.models.AuthenticationChallenge;
import com.workos.models.AuthenticationFactor;
import com.workos.models.AuthenticationFactorEnrolled;
import com.workos.models.UserAuthenticationFactorEnrollResponse;
import com.workos.types.AuthenticationFactorsCreateRequestType;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;

/**
 * Networks fail after the server has acted. A call that is repeated for this reason must not act
 * twice.
 *
 * <p>The library computes its own key from the request. The server repeats an answer under such a key
 * for 30 seconds, but only the answer to a challenge: another user may type the same code, or enroll
 * with the same request.
 */
class Retries {
  private static final String DERIVED = "retry-[0-9a-f]{64}";

  static void run(Fixture fixture) {
    var mfa = fixture.mfa;
    var far = fixture.server.far;
    var report = fixture.report;
    var network = fixture.server.network;

    report.step("lost reply: enroll", () -> {
      network.lose("reply");
      var factor = fixture.enrollTotp(far);
      sentTwice(network, "reply", DERIVED, false);
      var challenge = fixture.challenge(factor);
      Challenges.answers(fixture.verify(challenge, Totp.now(factor.getTotp().getSecret())), challenge, true);
      return "tried again with the same key, which two people may share: another factor with another secret";
    });

    report.step("lost reply: enroll for a user", () -> {
      var user = Fixture.newUser();
      network.lose("reply");
      var both = far.createUserAuthFactor(user, "totp");
      sentTwice(network, "reply", DERIVED, false);
      isTheNewestOf(fixture, user, both, 2);
      return "two factors; the first one's secret never arrived";
    });

    report.step("lost request: enroll for a user", () -> {
      var user = Fixture.newUser();
      network.lose("request");
      var both = far.createUserAuthFactor(user, "totp");
      sentTwice(network, "request", DERIVED, true);
      isTheNewestOf(fixture, user, both, 1);
      return null;
    });

    report.step("lost reply: challenge sms", () -> {
      var phone = fixture.phone();
      var factor = fixture.enrollSms(phone);
      network.lose("reply");
      var challenge = far.challengeFactor(factor.getId());
      sentTwice(network, "reply", DERIVED, true);
      Challenges.answers(fixture.verify(challenge, fixture.codeFor(phone)), challenge, true);
      return "exactly one message";
    });

    report.step("lost reply: challenge generic_otp", () -> {
      var factor = fixture.enrollGenericOtp();
      network.lose("reply");
      var challenge = fixture.seen(far.challengeFactor(factor.getId()));
      sentTwice(network, "reply", DERIVED, true);
      Challenges.answers(fixture.verify(challenge, challenge.getCode()), challenge, true);
      return "the same challenge, with the same code";
    });

    report.step("lost reply: right code", () -> {
      var challenge = fixture.challenge(fixture.enrollGenericOtp());
      network.lose("reply");
      fixture.previouslyVerified(challenge, () -> far.verifyChallenge(challenge.getId(), challenge.getCode()));
      sentTwice(network, "reply", DERIVED, false);

      var other = fixture.challenge(fixture.enrollGenericOtp());
      network.lose("reply");
      var reply = far.verifyChallenge(other.getId(), other.getCode(), Fixture.newKey());
      sentTwice(network, "reply", Check.UUID, true);
      Challenges.answers(reply, other, true);
      fixture.previouslyVerified(other, () -> far.verifyChallenge(other.getId(), other.getCode()));
      return "with a key of the caller's own: true both times. With the library's key, which others may share, the second"
          + " try is UnprocessableEntityException authentication_challenge_previously_verified";
    });

    report.step("lost reply: wrong code", () -> {
      var challenge = fixture.challenge(fixture.enrollGenericOtp());
      var wrong = Totp.otherThan(challenge.getCode());
      network.lose("reply");
      Challenges.answers(far.verifyChallenge(challenge.getId(), wrong, Fixture.newKey()), challenge, false);
      sentTwice(network, "reply", Check.UUID, true);
      failsAfter(fixture, challenge, 4);

      var other = fixture.challenge(fixture.enrollGenericOtp());
      network.lose("reply");
      Challenges.answers(far.verifyChallenge(other.getId(), Totp.otherThan(other.getCode())), other, false);
      sentTwice(network, "reply", DERIVED, false);
      failsAfter(fixture, other, 3);
      return "counted once with a key of the caller's own; twice with the library's, which others may share";
    });

    report.step("lost reply: delete", () -> {
      var factor = fixture.enrollGenericOtp();
      network.lose("reply");
      fixture.factorNotFound(factor.getId(), () -> {
        far.deleteFactor(factor.getId());
        return "nothing";
      });
      var tries = network.tries();
      Check.equal("the statuses", tries.stream().map(t -> t.get("status").asInt()).toList(), List.of(204, 404));
      Check.equal("the keys", tries.stream().map(t -> t.get("key").asText()).toList(), List.of("", ""));
      fixture.factorNotFound(factor.getId(), () -> mfa.getFactor(factor.getId()));
      return "deleted; the second try is NotFoundException, as the library sends no key with DELETE";
    });

    report.step("own idempotency key", () -> {
      var user = Fixture.newUser();
      var own = Fixture.newKey();
      var first = enroll(fixture, user, own);
      Check.equal("the second answer", enroll(fixture, user, own), first);
      Check.equal("the factors of the user", mfa.listUserAuthFactors(user).data, List.of(Factors.shown(first)));
      fixture.refused(UnprocessableEntityException.class, 422, "idempotency_error",
          "This Idempotency-Key was used before: with another request, for a factor that was deleted, or for a secret that is no longer shown.",
          () -> mfa.enrollFactor(AuthenticationFactorsCreateRequestType.GenericOtp, null, null, null, user, own));
      return "twice the same answer; another body: UnprocessableEntityException idempotency_error";
    });

    report.step("own idempotency key, eight at once", () -> {
      var user = Fixture.newUser();
      var own = Fixture.newKey();
      var threads = Executors.newFixedThreadPool(8);
      Callable<AuthenticationFactorEnrolled> racer = () -> enroll(fixture, user, own);
      var answers = new ArrayList<AuthenticationFactorEnrolled>();
      for (var racing : threads.invokeAll(Collections.nCopies(8, racer))) {
        answers.add(racing.get());
      }
      threads.shutdown();
      Check.equal("the answers", answers, Collections.nCopies(8, answers.get(0)));
      Check.equal("the factors of the user", mfa.listUserAuthFactors(user).data, List.of(Factors.shown(answers.get(0))));
      return null;
    });
  }

  private static AuthenticationFactorEnrolled enroll(Fixture fixture, String user, RequestOptions options) {
    var factor = fixture.mfa.enrollFactor(AuthenticationFactorsCreateRequestType.Totp, null, null, null, user, options);
    fixture.report.secrets(factor.getTotp().getSecret());
    return factor;
  }

  /**
   * Checks that the request with the lost message went over the wire twice, with the same key. Both
   * answers must be the same if the server can recognize the second request as a repetition.
   */
  private static void sentTwice(Network network, String lost, String key, boolean answeredAlike) throws Exception {
    var tries = network.tries();
    Check.equal("the lost messages", tries.stream().map(t -> t.get("lost").asText()).toList(), List.of(lost, ""));
    for (var same : List.of("method", "path", "body", "key")) {
      Check.equal(same, tries.get(1).get(same), tries.get(0).get(same));
    }
    Check.matches("the key", tries.get(0).get("key").asText(), key);
    if (lost.equals("reply")) {
      Check.equal("whether the answers are the same", answer(tries.get(0)).equals(answer(tries.get(1))), answeredAlike);
    }
  }

  private static String answer(JsonNode attempt) {
    return attempt.get("status").asText() + " " + attempt.get("reply_body").asText();
  }

  /** Checks the number of the user's factors, and that the given one is the newest, and verifies it. */
  private static void isTheNewestOf(Fixture fixture, String user, UserAuthenticationFactorEnrollResponse both, int factors) {
    fixture.report.secrets(both.getAuthenticationFactor().getTotp().getSecret());
    var ids = fixture.mfa.listUserAuthFactors(user).data.stream().map(AuthenticationFactor::getId).toList();
    Check.equal("how many factors the user has", ids.size(), factors);
    Check.equal("the newest factor of the user", ids.get(0), both.getAuthenticationFactor().getId());
    Users.verifies(fixture, both);
  }

  /** Checks that exactly this number of wrong codes is left. */
  private static void failsAfter(Fixture fixture, AuthenticationChallenge challenge, int left) {
    var wrong = Totp.otherThan(challenge.getCode());
    for (int i = 0; i < left; i++) {
      Challenges.answers(fixture.verify(challenge, wrong), challenge, false);
    }
    fixture.tooManyAttempts(() -> fixture.verify(challenge, wrong));
  }
}
