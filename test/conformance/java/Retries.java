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

  static void run(World world) {
    var mfa = world.mfa;
    var far = world.server.far;
    var report = world.report;
    var network = world.server.network;

    report.step("lost reply: enroll", () -> {
      network.lose("reply");
      var factor = world.enrollTotp(far);
      sentTwice(network, "reply", DERIVED, false);
      var challenge = world.challenge(factor);
      Challenges.answers(world.verify(challenge, Totp.now(factor.getTotp().getSecret())), challenge, true);
      return "tried again with the same key, which two people may share: another factor with another secret";
    });

    report.step("lost reply: enroll for a user", () -> {
      var user = World.newUser();
      network.lose("reply");
      var both = far.createUserAuthFactor(user, "totp");
      sentTwice(network, "reply", DERIVED, false);
      isTheNewestOf(world, user, both, 2);
      return "two factors; the first one's secret never arrived";
    });

    report.step("lost request: enroll for a user", () -> {
      var user = World.newUser();
      network.lose("request");
      var both = far.createUserAuthFactor(user, "totp");
      sentTwice(network, "request", DERIVED, true);
      isTheNewestOf(world, user, both, 1);
      return null;
    });

    report.step("lost reply: challenge sms", () -> {
      var phone = world.phone();
      var factor = world.enrollSms(phone);
      network.lose("reply");
      var challenge = far.challengeFactor(factor.getId());
      sentTwice(network, "reply", DERIVED, true);
      Challenges.answers(world.verify(challenge, world.codeFor(phone)), challenge, true);
      return "exactly one message";
    });

    report.step("lost reply: challenge generic_otp", () -> {
      var factor = world.enrollGenericOtp();
      network.lose("reply");
      var challenge = world.seen(far.challengeFactor(factor.getId()));
      sentTwice(network, "reply", DERIVED, true);
      Challenges.answers(world.verify(challenge, challenge.getCode()), challenge, true);
      return "the same challenge, with the same code";
    });

    report.step("lost reply: right code", () -> {
      var challenge = world.challenge(world.enrollGenericOtp());
      network.lose("reply");
      world.previouslyVerified(challenge, () -> far.verifyChallenge(challenge.getId(), challenge.getCode()));
      sentTwice(network, "reply", DERIVED, false);

      var other = world.challenge(world.enrollGenericOtp());
      network.lose("reply");
      var reply = far.verifyChallenge(other.getId(), other.getCode(), World.newKey());
      sentTwice(network, "reply", Check.UUID, true);
      Challenges.answers(reply, other, true);
      world.previouslyVerified(other, () -> far.verifyChallenge(other.getId(), other.getCode()));
      return "with a key of the caller's own: true both times. With the library's key, which others may share, the second"
          + " try is UnprocessableEntityException authentication_challenge_previously_verified";
    });

    report.step("lost reply: wrong code", () -> {
      var challenge = world.challenge(world.enrollGenericOtp());
      var wrong = Totp.otherThan(challenge.getCode());
      network.lose("reply");
      Challenges.answers(far.verifyChallenge(challenge.getId(), wrong, World.newKey()), challenge, false);
      sentTwice(network, "reply", Check.UUID, true);
      failsAfter(world, challenge, 4);

      var other = world.challenge(world.enrollGenericOtp());
      network.lose("reply");
      Challenges.answers(far.verifyChallenge(other.getId(), Totp.otherThan(other.getCode())), other, false);
      sentTwice(network, "reply", DERIVED, false);
      failsAfter(world, other, 3);
      return "counted once with a key of the caller's own; twice with the library's, which others may share";
    });

    report.step("lost reply: delete", () -> {
      var factor = world.enrollGenericOtp();
      network.lose("reply");
      world.factorNotFound(factor.getId(), () -> {
        far.deleteFactor(factor.getId());
        return "nothing";
      });
      var tries = network.tries();
      Check.equal("the statuses", tries.stream().map(t -> t.get("status").asInt()).toList(), List.of(204, 404));
      Check.equal("the keys", tries.stream().map(t -> t.get("key").asText()).toList(), List.of("", ""));
      world.factorNotFound(factor.getId(), () -> mfa.getFactor(factor.getId()));
      return "deleted; the second try is NotFoundException, as the library sends no key with DELETE";
    });

    report.step("own idempotency key", () -> {
      var user = World.newUser();
      var own = World.newKey();
      var first = enroll(world, user, own);
      Check.equal("the second answer", enroll(world, user, own), first);
      Check.equal("the factors of the user", mfa.listUserAuthFactors(user).data, List.of(Factors.shown(first)));
      world.refused(UnprocessableEntityException.class, 422, "idempotency_error",
          "This Idempotency-Key was used before: with another request, for a factor that was deleted, or for a secret that is no longer shown.",
          () -> mfa.enrollFactor(AuthenticationFactorsCreateRequestType.GenericOtp, null, null, null, user, own));
      return "twice the same answer; another body: UnprocessableEntityException idempotency_error";
    });

    report.step("own idempotency key, eight at once", () -> {
      var user = World.newUser();
      var own = World.newKey();
      var threads = Executors.newFixedThreadPool(8);
      Callable<AuthenticationFactorEnrolled> racer = () -> enroll(world, user, own);
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

  private static AuthenticationFactorEnrolled enroll(World world, String user, RequestOptions options) {
    var factor = world.mfa.enrollFactor(AuthenticationFactorsCreateRequestType.Totp, null, null, null, user, options);
    world.report.secrets(factor.getTotp().getSecret());
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
  private static void isTheNewestOf(World world, String user, UserAuthenticationFactorEnrollResponse both, int factors) {
    world.report.secrets(both.getAuthenticationFactor().getTotp().getSecret());
    var ids = world.mfa.listUserAuthFactors(user).data.stream().map(AuthenticationFactor::getId).toList();
    Check.equal("how many factors the user has", ids.size(), factors);
    Check.equal("the newest factor of the user", ids.get(0), both.getAuthenticationFactor().getId());
    Users.verifies(world, both);
  }

  /** Checks that exactly this number of wrong codes is left. */
  private static void failsAfter(World world, AuthenticationChallenge challenge, int left) {
    var wrong = Totp.otherThan(challenge.getCode());
    for (int i = 0; i < left; i++) {
      Challenges.answers(world.verify(challenge, wrong), challenge, false);
    }
    world.tooManyAttempts(() -> world.verify(challenge, wrong));
  }
}
