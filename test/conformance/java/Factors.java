import com.workos.models.AuthenticationFactor;
import com.workos.models.AuthenticationFactorEnrolled;
import com.workos.models.AuthenticationFactorTotp;
import com.workos.types.AuthenticationFactorType;
import com.workos.types.AuthenticationFactorsCreateRequestType;
import java.util.List;
import java.util.function.UnaryOperator;

/** Enroll, get and delete. */
class Factors {
  static void run(Fixture fixture) {
    var mfa = fixture.mfa;
    var report = fixture.report;

    report.step("enroll totp", () -> {
      var factor = fixture.enrollTotp();
      isFactor(factor, AuthenticationFactorType.Totp);
      Check.that("there is no sms", factor.getSms() == null);
      Check.matches("userId", factor.getUserId(), "user_" + Check.UUID);
      var totp = factor.getTotp();
      Check.equal("issuer", totp.getIssuer(), "Foo Corp");
      Check.equal("user", totp.getUser(), "user@example.com");
      Check.matches("secret", totp.getSecret(), "[A-Z2-7]{32}");
      Check.equal("uri", totp.getUri(),
          "otpauth://totp/Foo%20Corp:user@example.com?secret=" + totp.getSecret() + "&issuer=Foo%20Corp");
      Check.matches("qrCode", totp.getQrCode(), "data:image/png;base64,[A-Za-z0-9+/]+={0,2}");
      report.shows(totp.getQrCode(), totp.getUri());
      return "32 base32 characters; the QR code says the URI";
    });

    report.step("enroll totp without names", () -> {
      var factor = mfa.enrollFactor(AuthenticationFactorsCreateRequestType.Totp);
      var other = mfa.enrollFactor(AuthenticationFactorsCreateRequestType.Totp);
      report.secrets(factor.getTotp().getSecret(), other.getTotp().getSecret());
      for (var name : List.of(factor.getTotp().getIssuer(), factor.getTotp().getUser())) {
        Check.that("issuer and user are not empty", !name.isEmpty());
      }
      Check.that("two people are not given one secret", !factor.getTotp().getSecret().equals(other.getTotp().getSecret()));
      return "issuer " + factor.getTotp().getIssuer() + ", user " + factor.getTotp().getUser();
    });

    report.step("enroll sms", () -> {
      List<UnaryOperator<String>> forms = List.of(
          number -> number,
          number -> number.substring(1), // without the plus
          number -> number.replaceFirst("\\+1(\\d{3})(\\d{3})(\\d{4})", "+1 ($1) $2-$3"),
          number -> number.replaceFirst("\\+1(\\d{3})(\\d{3})(\\d{4})", " 1.$1.$2.$3 "));
      for (var form : forms) {
        var phone = fixture.phone();
        var factor = fixture.enrollSms(form.apply(phone));
        isFactor(factor, AuthenticationFactorType.Sms);
        Check.equal("the number", factor.getSms().getPhoneNumber(), phone);
        Check.that("there is nothing else", factor.getTotp() == null && factor.getUserId() == null);
      }
      return "four forms of a number become E.164";
    });

    report.step("enroll generic_otp", () -> {
      var factor = mfa.enrollFactor(AuthenticationFactorsCreateRequestType.GenericOtp);
      isFactor(factor, AuthenticationFactorType.GenericOtp);
      Check.that("there is nothing else", factor.getTotp() == null && factor.getSms() == null && factor.getUserId() == null);
      return null;
    });

    report.step("get a factor", () -> {
      for (var factor : List.of(fixture.enrollTotp(), fixture.enrollSms(fixture.phone()), fixture.enrollGenericOtp())) {
        var shown = mfa.getFactor(factor.getId());
        Check.equal("the factor", shown, shown(factor)); // a class without a secret
      }
      return "as it was enrolled, without the secret";
    });

    report.step("delete a factor", () -> {
      for (var factor : List.of(fixture.enrollTotp(), fixture.enrollSms(fixture.phone()), fixture.enrollGenericOtp())) {
        var id = factor.getId();
        mfa.deleteFactor(id);
        fixture.factorNotFound(id, () -> mfa.getFactor(id));
        fixture.factorNotFound(id, () -> {
          mfa.deleteFactor(id);
          return "nothing";
        });
        fixture.factorNotFound(id, () -> mfa.challengeFactor(id));
      }
      return "then get, delete and challenge: NotFoundException entity_not_found";
    });

    report.step("delete a factor that is challenged", () -> {
      var factor = fixture.enrollTotp();
      var challenge = fixture.challenge(factor);
      mfa.deleteFactor(factor.getId());
      fixture.challengeNotFound(challenge.getId(), () -> fixture.verify(challenge, Totp.now(factor.getTotp().getSecret())));
      fixture.factorNotFound(factor.getId(), () -> mfa.challengeFactor(factor.getId())); // the same call as before
      return "then verify: NotFoundException entity_not_found";
    });
  }

  /** Checks the fields that factors of all types have. */
  private static void isFactor(AuthenticationFactorEnrolled factor, AuthenticationFactorType type) {
    Check.equal("object", factor.getObjectType(), "authentication_factor");
    Check.matches("id", factor.getId(), "auth_factor_" + Check.ULID);
    Check.equal("updatedAt", factor.getUpdatedAt(), factor.getCreatedAt());
    Check.equal("type", factor.getType(), type);
  }

  /** Returns the fields that the server shows of a factor after its enrollment. */
  static AuthenticationFactor shown(AuthenticationFactorEnrolled f) {
    var totp = f.getTotp() == null ? null : new AuthenticationFactorTotp(f.getTotp().getIssuer(), f.getTotp().getUser());
    return new AuthenticationFactor(
        f.getId(), f.getType(), f.getCreatedAt(), f.getUpdatedAt(), f.getObjectType(), f.getUserId(), f.getSms(), totp);
  }
}
