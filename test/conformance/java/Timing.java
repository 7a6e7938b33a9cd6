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
  static void run(World world) {
    var report = world.report;
    var mfa = world.brief.mfa;

    report.step("expiry of totp", () -> expire(world, world.enrollTotp(mfa)));
    report.step("expiry of generic_otp", () -> expire(world, world.enrollGenericOtp(mfa)));

    report.step("too many messages, then waiting", () -> {
      var phone = world.phone();
      var factor = mfa.enrollFactor(AuthenticationFactorsCreateRequestType.Sms, phone);
      world.brief.far.challengeFactor(factor.getId());
      world.brief.far.challengeFactor(factor.getId(), null, World.newKey());
      var tries = world.brief.network.tries();
      Check.equal("the statuses", tries.stream().map(t -> t.get("status").asInt()).toList(), List.of(201, 429, 201));
      Check.equal("the key of the last try", tries.get(2).get("key"), tries.get(1).get("key"));
      Check.equal("the number of messages", world.messages(phone, world.brief).size(), 2);
      return "waits as Retry-After says, tries again with the same key, and the message goes out";
    });
  }

  private static String expire(World world, AuthenticationFactorEnrolled factor) throws InterruptedException {
    var challenge = world.seen(world.brief.mfa.challengeFactor(factor.getId()));
    var expiry = challenge.getExpiresAt().toInstant();
    while (Instant.now().isBefore(expiry)) {
      Thread.sleep(5);
    }
    var code = challenge.getCode() != null ? challenge.getCode() : Totp.now(factor.getTotp().getSecret());
    world.refused(UnprocessableEntityException.class, 422, "authentication_challenge_expired",
        "The authentication challenge '" + challenge.getId() + "' has expired.",
        () -> world.brief.mfa.verifyChallenge(challenge.getId(), code));
    return "the right code, too late: UnprocessableEntityException authentication_challenge_expired";
  }
}
