import com.workos.models.AuthenticationChallenge;
import com.workos.models.AuthenticationChallengeVerifyResponse;
import com.workos.models.AuthenticationFactorEnrolled;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.function.Supplier;

/** Challenge and verify. */
class Challenges {
  /** A factor with an open challenge, a wrong code and the right one. */
  record Open(AuthenticationChallenge challenge, String wrong, Supplier<String> right) {}

  static void run(Fixture fixture) {
    var mfa = fixture.mfa;
    var report = fixture.report;

    report.step("challenge totp", () -> {
      var factor = fixture.enrollTotp();
      var challenge = fixture.challenge(factor);
      isChallenge(challenge, factor);
      Check.equal("the code", challenge.getCode(), null);
      return "no code; expires in ten minutes";
    });

    report.step("challenge sms", () -> {
      var phone = fixture.phone();
      var factor = fixture.enrollSms(phone);
      var challenge = fixture.challenge(factor);
      isChallenge(challenge, factor);
      Check.equal("the code", challenge.getCode(), null);
      var message = fixture.messageTo(phone);
      Check.equal("the number", message.get("to").asText(), phone);
      Check.equal("the text", message.get("text").asText(), "Your verification code is: " + message.get("code").asText());
      return "the code goes only to the phone";
    });

    report.step("challenge sms with a template", () -> {
      var phone = fixture.phone();
      mfa.challengeFactor(fixture.enrollSms(phone).getId(), "<b>Förde & Søn</b>: {{code}} 🔑");
      var message = fixture.messageTo(phone);
      Check.equal("the text", message.get("text").asText(), "<b>Förde & Søn</b>: " + message.get("code").asText() + " 🔑");
      return null;
    });

    report.step("challenge sms with an empty template", () -> {
      var phone = fixture.phone();
      mfa.challengeFactor(fixture.enrollSms(phone).getId(), "");
      Check.matches("the text", fixture.messageTo(phone).get("text").asText(), "Your verification code is: \\d{6}");
      return "means the default text";
    });

    report.step("challenge generic_otp", () -> {
      var factor = fixture.enrollGenericOtp();
      var challenge = fixture.challenge(factor);
      isChallenge(challenge, factor);
      Check.matches("the code", challenge.getCode(), "\\d{6}");
      return "with its code, for the caller to deliver";
    });

    Callable<Open> totp = () -> {
      var factor = fixture.enrollTotp();
      var secret = factor.getTotp().getSecret();
      return new Open(fixture.challenge(factor), Totp.wrongFor(secret), () -> Totp.now(secret));
    };
    Callable<Open> sms = () -> {
      var phone = fixture.phone();
      var challenge = fixture.challenge(fixture.enrollSms(phone));
      var code = fixture.codeFor(phone);
      return new Open(challenge, Totp.otherThan(code), () -> code);
    };
    Callable<Open> genericOtp = () -> {
      var challenge = fixture.challenge(fixture.enrollGenericOtp());
      return new Open(challenge, Totp.otherThan(challenge.getCode()), challenge::getCode);
    };

    report.step("verify totp", () -> verify(fixture, totp.call()));
    report.step("verify sms", () -> verify(fixture, sms.call()));
    report.step("verify generic_otp", () -> verify(fixture, genericOtp.call()));

    report.step("verify a code with spaces", () -> {
      var open = genericOtp.call();
      var code = open.right.get();
      answers(fixture.verify(open.challenge, " " + code.substring(0, 3) + " " + code.substring(3) + " "), open.challenge, true);
      return null;
    });

    report.step("verify by the deprecated method", () -> {
      throw new Report.Skip("has no call for it");
    });

    report.step("a totp code is spent once", () -> {
      var factor = fixture.enrollTotp();
      var secret = factor.getTotp().getSecret();
      var first = fixture.challenge(factor);
      Check.equal("the challenge of a call that is equal", fixture.challenge(factor), first);
      var second = fixture.challengeAnew(factor);
      Check.that("a separate key creates another challenge", !second.getId().equals(first.getId()));
      var code = Totp.now(secret);
      answers(fixture.verify(first, code), first, true);
      answers(fixture.verify(second, code), second, false);
      fixture.previouslyVerified(first, () -> fixture.verify(first, code)); // the same call as before
      answers(fixture.verify(second, Totp.at(secret, 1)), second, true);
      return "on another challenge: valid false; the next code: valid true. Within 30 seconds the same call is"
          + " answered with the same challenge, unless it has a separate key";
    });

    report.step("of eight racing right codes one wins", () -> {
      var open = genericOtp.call();
      var code = open.right.get();
      var threads = Executors.newFixedThreadPool(8);
      Callable<AuthenticationChallengeVerifyResponse> racer = () -> fixture.verify(open.challenge, code);
      var winners = new ArrayList<AuthenticationChallengeVerifyResponse>();
      for (var racing : threads.invokeAll(List.of(racer, racer, racer, racer, racer, racer, racer, racer))) {
        try {
          winners.add(racing.get());
        } catch (ExecutionException e) {
          fixture.previouslyVerified(open.challenge, () -> {
            throw (Exception) e.getCause();
          });
        }
      }
      threads.shutdown();
      Check.equal("the number of answers that are no error", winners.size(), 1);
      answers(winners.get(0), open.challenge, true);
      return null;
    });

    report.step("too many attempts on a challenge", () -> {
      var factor = fixture.enrollGenericOtp();
      var challenge = fixture.challenge(factor);
      fail(fixture, challenge, 5);
      for (var code : List.of(challenge.getCode(), Totp.otherThan(challenge.getCode()))) {
        var error = fixture.tooManyAttempts(() -> fixture.verify(challenge, code));
        Check.that("there is no wait", !error.rawBody.contains("retry_after"));
      }
      var next = fixture.challenge(factor); // the same call and key: a challenge that was tried is not returned again
      answers(fixture.verify(next, next.getCode()), next, true);
      return "the sixth: BadRequestException one_time_code_too_many_attempts; a new challenge works";
    });

    report.step("too many failures of a factor", () -> {
      var factor = fixture.enrollGenericOtp();
      fail(fixture, fixture.challenge(factor), 5);
      var challenge = fixture.challenge(factor);
      fail(fixture, challenge, 1);
      var error = fixture.tooManyAttempts(() -> fixture.verify(challenge, challenge.getCode()));
      Check.matches("the body", error.rawBody, ".*\"retry_after\":([1-9]|[12]\\d|30)\\b.*");
      return "the factor has to wait: BadRequestException one_time_code_too_many_attempts, with retry_after in its rawBody";
    });
  }

  private static String verify(Fixture fixture, Open open) {
    for (var code : List.of(open.wrong, "", "12345", "abcdef")) {
      answers(fixture.verify(open.challenge, code), open.challenge, false);
    }
    answers(fixture.verify(open.challenge, open.right.get()), open.challenge, true);
    for (var code : List.of(open.right.get(), open.wrong)) {
      fixture.previouslyVerified(open.challenge, () -> fixture.verify(open.challenge, code));
    }
    return "wrong: getValid() false; right: true; again: UnprocessableEntityException authentication_challenge_previously_verified";
  }

  /** Tries wrong codes on a challenge that shows its code. */
  private static void fail(Fixture fixture, AuthenticationChallenge challenge, int times) {
    for (int i = 0; i < times; i++) {
      answers(fixture.verify(challenge, Totp.otherThan(challenge.getCode())), challenge, false);
    }
  }

  /** Checks the reply to a code. The reply repeats the challenge in its current state. */
  static void answers(AuthenticationChallengeVerifyResponse reply, AuthenticationChallenge c, boolean valid) {
    Check.equal("valid", reply.getValid(), valid);
    var updatedAt = reply.getChallenge().getUpdatedAt();
    Check.that("updatedAt is not before", !updatedAt.isBefore(c.getUpdatedAt()));
    Check.equal("the challenge", reply.getChallenge(), new AuthenticationChallenge(
        c.getId(), c.getAuthenticationFactorId(), c.getCreatedAt(), updatedAt, c.getObjectType(), c.getExpiresAt(), c.getCode()));
  }

  static void isChallenge(AuthenticationChallenge challenge, AuthenticationFactorEnrolled factor) {
    Check.equal("object", challenge.getObjectType(), "authentication_challenge");
    Check.matches("id", challenge.getId(), "auth_challenge_" + Check.ULID);
    Check.equal("updatedAt", challenge.getUpdatedAt(), challenge.getCreatedAt());
    Check.equal("the time to answer", Duration.between(challenge.getCreatedAt(), challenge.getExpiresAt()), Duration.ofMinutes(10));
    Check.equal("the factor", challenge.getAuthenticationFactorId(), factor.getId());
  }
}
