import com.workos.common.exceptions.UnprocessableEntityException;
import com.workos.models.AuthenticationFactorEnrolled;
import com.workos.types.AuthenticationFactorsCreateRequestType;
import java.time.Instant;
import java.util.List;

/**
 * Steps about time, on a server whose challenges expire at once and whose phone numbers wait only one
 * second between messages.
 */
class Timing {
  static void run(Fixture fixture) {
    var report = fixture.report;
    var mfa = fixture.brief.mfa;

    report.step("expiry of totp", () -> expire(fixture, fixture.enrollTotp(mfa)));
    report.step("expiry of generic_otp", () -> expire(fixture, fixture.enrollGenericOtp(mfa)));

    report.step("too many messages, then waiting", () -> {
      var phone = fixture.phone();
      var factor = mfa.enrollFactor(AuthenticationFactorsCreateRequestType.Sms, phone);
      fixture.brief.far.challengeFactor(factor.getId());
      fixture.brief.far.challengeFactor(factor.getId(), null, Fixture.newKey());
      var tries = fixture.brief.network.tries();
      Check.equal("the statuses", tries.stream().map(t -> t.get("status").asInt()).toList(), List.of(201, 429, 201));
      Check.equal("the key of the last try", tries.get(2).get("key"), tries.get(1).get("key"));
      Check.equal("the number of messages", fixture.messages(phone, fixture.brief).size(), 2);
      return "waits as Retry-After says, tries again with the same key, and the message goes out";
    });
  }

  private static String expire(Fixture fixture, AuthenticationFactorEnrolled factor) throws InterruptedException {
    var challenge = fixture.seen(fixture.brief.mfa.challengeFactor(factor.getId()));
    var expiry = challenge.getExpiresAt().toInstant();
    while (Instant.now().isBefore(expiry)) {
      Thread.sleep(5);
    }
    var code = challenge.getCode() != null ? challenge.getCode() : Totp.now(factor.getTotp().getSecret());
    fixture.refused(UnprocessableEntityException.class, 422, "authentication_challenge_expired",
        "The authentication challenge '" + challenge.getId() + "' has expired.",
        () -> fixture.brief.mfa.verifyChallenge(challenge.getId(), code));
    return "the right code, too late: UnprocessableEntityException authentication_challenge_expired";
  }
}
