import com.workos.models.UserAuthenticationFactorEnrollResponse;
import java.util.List;

/** Factors of users. */
class Users {
  static void run(World world) {
    var mfa = world.mfa;
    var report = world.report;

    report.step("enroll for a user", () -> {
      var user = World.newUser();
      var both = enroll(world, user, "Foo Corp", "user@foo-corp.com", null);
      var factor = both.getAuthenticationFactor();
      var totp = factor.getTotp();
      Check.equal("userId", factor.getUserId(), user);
      Check.equal("issuer", totp.getIssuer(), "Foo Corp");
      Check.equal("user", totp.getUser(), "user@foo-corp.com");
      Check.matches("secret", totp.getSecret(), "[A-Z2-7]{32}");
      Challenges.isChallenge(both.getAuthenticationChallenge(), factor);
      Check.equal("the factor", mfa.getFactor(factor.getId()), Factors.shown(factor));
      verifies(world, both);
      report.shows(totp.getQrCode(), totp.getUri());
      return "factor and challenge in one call";
    });

    report.step("enroll for a user without names", () -> {
      var totp = enroll(world, World.newUser(), null, null, null).getAuthenticationFactor().getTotp();
      Check.that("issuer and user are not empty", !totp.getIssuer().isEmpty() && !totp.getUser().isEmpty());
      return null;
    });

    report.step("enroll for a user with a secret", () -> {
      var secret = "JBSWY3DPEHPK3PXPJBSWY3DPEE";
      report.secrets(secret);
      for (var form : List.of(secret, secret.toLowerCase(), secret.replaceAll("(.{4})", "$1 "), secret + "======")) {
        var both = enroll(world, World.newUser(), null, null, form);
        Check.equal("the secret", both.getAuthenticationFactor().getTotp().getSecret(), secret);
        verifies(world, both);
      }
      world.invalid("totp_secret", "too_short", () -> enroll(world, World.newUser(), null, null, "JBSWY3DP"));
      world.invalid("totp_secret", "not_base32", () -> enroll(world, World.newUser(), null, null, "01189998819991197253"));
      return "in lower case, with spaces, with padding; a short or foreign one: UnprocessableEntityException";
    });
  }

  static UserAuthenticationFactorEnrollResponse enroll(World world, String user, String issuer, String account, String secret) {
    var both = world.mfa.createUserAuthFactor(user, "totp", issuer, account, secret);
    world.report.secrets(both.getAuthenticationFactor().getTotp().getSecret());
    return both;
  }

  static void verifies(World world, UserAuthenticationFactorEnrollResponse both) {
    var code = Totp.now(both.getAuthenticationFactor().getTotp().getSecret());
    Challenges.answers(world.verify(both.getAuthenticationChallenge(), code), both.getAuthenticationChallenge(), true);
  }
}
