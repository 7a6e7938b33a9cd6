import com.workos.models.UserAuthenticationFactorEnrollResponse;
import java.util.List;

/** Factors of users. */
class Users {
  static void run(Fixture fixture) {
    var mfa = fixture.mfa;
    var report = fixture.report;

    report.step("enroll for a user", () -> {
      var user = Fixture.newUser();
      var both = enroll(fixture, user, "Foo Corp", "user@foo-corp.com", null);
      var factor = both.getAuthenticationFactor();
      var totp = factor.getTotp();
      Check.equal("userId", factor.getUserId(), user);
      Check.equal("issuer", totp.getIssuer(), "Foo Corp");
      Check.equal("user", totp.getUser(), "user@foo-corp.com");
      Check.matches("secret", totp.getSecret(), "[A-Z2-7]{32}");
      Challenges.isChallenge(both.getAuthenticationChallenge(), factor);
      Check.equal("the factor", mfa.getFactor(factor.getId()), Factors.shown(factor));
      verifies(fixture, both);
      report.shows(totp.getQrCode(), totp.getUri());
      return "factor and challenge in one call";
    });

    report.step("enroll for a user without names", () -> {
      var totp = enroll(fixture, Fixture.newUser(), null, null, null).getAuthenticationFactor().getTotp();
      Check.that("issuer and user are not empty", !totp.getIssuer().isEmpty() && !totp.getUser().isEmpty());
      return null;
    });

    report.step("enroll for a user with a secret", () -> {
      var secret = "JBSWY3DPEHPK3PXPJBSWY3DPEE";
      report.secrets(secret);
      for (var form : List.of(secret, secret.toLowerCase(), secret.replaceAll("(.{4})", "$1 "), secret + "======")) {
        var both = enroll(fixture, Fixture.newUser(), null, null, form);
        Check.equal("the secret", both.getAuthenticationFactor().getTotp().getSecret(), secret);
        verifies(fixture, both);
      }
      fixture.invalid("totp_secret", "too_short", () -> enroll(fixture, Fixture.newUser(), null, null, "JBSWY3DP"));
      fixture.invalid("totp_secret", "not_base32", () -> enroll(fixture, Fixture.newUser(), null, null, "01189998819991197253"));
      return "in lower case, with spaces, with padding; a short or foreign one: UnprocessableEntityException";
    });
  }

  static UserAuthenticationFactorEnrollResponse enroll(Fixture fixture, String user, String issuer, String account, String secret) {
    var both = fixture.mfa.createUserAuthFactor(user, "totp", issuer, account, secret);
    fixture.report.secrets(both.getAuthenticationFactor().getTotp().getSecret());
    return both;
  }

  static void verifies(Fixture fixture, UserAuthenticationFactorEnrollResponse both) {
    var code = Totp.now(both.getAuthenticationFactor().getTotp().getSecret());
    Challenges.answers(fixture.verify(both.getAuthenticationChallenge(), code), both.getAuthenticationChallenge(), true);
  }
}
