import com.fasterxml.jackson.databind.JsonMappingException;
import com.workos.common.exceptions.NotFoundException;
import com.workos.common.exceptions.RateLimitException;
import com.workos.common.exceptions.UnauthorizedException;
import com.workos.common.exceptions.UnprocessableEntityException;
import com.workos.common.http.RequestConfig;
import com.workos.common.http.RequestOptions;
import com.workos.types.AuthenticationFactorsCreateRequestType;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/** Refusals of the server arrive as the library's own exceptions. */
class Refusals {
  private static final String UNKNOWN = "01FVYZ5QM8N98T9ME5BCB2BBMJ";

  static void run(Fixture fixture) {
    var mfa = fixture.mfa;
    var report = fixture.report;

    report.step("unknown factor", () -> {
      for (var id : List.of("auth_factor_" + UNKNOWN, "auth_challenge_" + UNKNOWN, "no-such-factor", "O'Brien", "a/b?c#d e%")) {
        fixture.factorNotFound(id, () -> mfa.getFactor(id));
        fixture.factorNotFound(id, () -> delete(fixture, id));
        fixture.factorNotFound(id, () -> mfa.challengeFactor(id));
      }
      return "NotFoundException with code and message";
    });

    report.step("unknown challenge", () -> {
      for (var id : List.of("auth_challenge_" + UNKNOWN, "auth_factor_" + UNKNOWN, "no-such-challenge", "a/b?c#d e%")) {
        fixture.challengeNotFound(id, () -> mfa.verifyChallenge(id, "123456"));
      }
      return "NotFoundException with code and message";
    });

    report.step("unknown path", () -> {
      var request = new RequestConfig("GET", "/no/such/path");
      fixture.refused(NotFoundException.class, 404, null, "Not Found", () -> fixture.server.workos.baseClient.requestJson(request));
      return "NotFoundException, without a code";
    });

    report.step("an error names its request", () -> {
      fixture.server.network.tries();
      var error = Check.fails(NotFoundException.class, () -> fixture.server.far.getFactor("auth_factor_" + UNKNOWN));
      var tries = fixture.server.network.tries();
      String sent = null;
      for (var header : tries.get(tries.size() - 1).get("reply_headers")) {
        if (header.get(0).asText().equals("x-request-id")) {
          sent = header.get(1).asText();
        }
      }
      Check.equal("requestId", error.requestId, sent);
      return "requestId is x-request-id";
    });

    report.step("bad phone number", () -> {
      for (var number : List.of("foo", "123", "+1 202", "+999 12345678")) {
        fixture.refused(UnprocessableEntityException.class, 422, "invalid_phone_number", "Phone number is invalid: '" + number + "'",
            () -> fixture.enrollSms(number));
      }
      return "UnprocessableEntityException invalid_phone_number";
    });

    report.step("bad input", () -> {
      var type = AuthenticationFactorsCreateRequestType.Sms;
      fixture.invalid("phone_number", "required", () -> mfa.enrollFactor(type));
      fixture.invalid("phone_number", "required", () -> mfa.enrollFactor(type, ""));
      fixture.invalid("totp_issuer", "invalid_characters",
          () -> mfa.enrollFactor(AuthenticationFactorsCreateRequestType.Totp, null, "line\nbreak"));
      var factor = fixture.enrollSms(fixture.phone());
      fixture.invalid("sms_template", "missing_code", () -> mfa.challengeFactor(factor.getId(), "no place for it"));
      // The library itself refuses a request without a type, or with an unknown type.
      Check.fails(NullPointerException.class, () -> mfa.enrollFactor(null));
      Check.fails(JsonMappingException.class, () -> mfa.enrollFactor(AuthenticationFactorsCreateRequestType.Unknown));
      fixture.invalid("type", "required", () -> fixture.post("/auth/factors/enroll", Map.of()));
      fixture.invalid("type", "unsupported", () -> fixture.post("/auth/factors/enroll", Map.of("type", "hotp")));
      return "UnprocessableEntityException invalid_request_parameters, with its list of errors";
    });

    report.step("bad API key", () -> {
      var factor = fixture.enrollTotp();
      var challenge = fixture.challenge(factor);
      var key = "sk_test_wrong";
      report.secrets(key);
      var theirs = Fixture.connect(fixture.server.url, key).getMultiFactorAuth();
      var code = Totp.now(factor.getTotp().getSecret());
      for (Check.Call call : List.<Check.Call>of(
          () -> theirs.enrollFactor(AuthenticationFactorsCreateRequestType.Totp),
          () -> theirs.getFactor(factor.getId()),
          () -> {
            theirs.deleteFactor(factor.getId());
            return "nothing";
          },
          () -> theirs.challengeFactor(factor.getId()),
          () -> theirs.verifyChallenge(challenge.getId(), code),
          () -> theirs.createUserAuthFactor("user_1", "totp"),
          () -> theirs.listUserAuthFactors("user_1"))) {
        fixture.refused(UnauthorizedException.class, 401, null, "Unauthorized", call);
      }
      return "UnauthorizedException, from every call";
    });

    report.step("another environment", () -> {
      var id = fixture.enrollGenericOtp().getId();
      fixture.factorNotFound(id, () -> fixture.brief.mfa.getFactor(id));
      return null;
    });

    report.step("too many messages to a number", () -> {
      var phone = fixture.phone();
      var factor = fixture.enrollSms(phone);
      var challenge = fixture.challenge(factor);
      Check.equal("the challenge of a call that is equal", fixture.challenge(factor), challenge);
      // By default the library waits for the time in Retry-After, and tries again.
      var impatient = RequestOptions.builder().maxRetries(0).idempotencyKey(UUID.randomUUID().toString()).build();
      var error = fixture.refused(RateLimitException.class, 429, "sms_challenge_rate_limited",
          "Too many messages to this phone number. Try again later.", () -> mfa.challengeFactor(factor.getId(), null, impatient));
      var wait = error.retryAfterSeconds;
      Check.that("retryAfterSeconds " + wait + " is 1 to 30", wait != null && wait >= 1 && wait <= 30);
      Check.equal("the number of messages", fixture.messages(phone, fixture.server).size(), 1);
      return "RateLimitException with retryAfterSeconds";
    });
  }

  private static Object delete(Fixture fixture, String id) {
    fixture.mfa.deleteFactor(id);
    return "nothing";
  }
}
