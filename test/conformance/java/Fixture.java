import com.fasterxml.jackson.databind.JsonNode;
import com.workos.WorkOS;
import com.workos.common.exceptions.BadRequestException;
import com.workos.common.exceptions.NotFoundException;
import com.workos.common.exceptions.UnprocessableEntityException;
import com.workos.common.exceptions.WorkOSException;
import com.workos.common.http.RequestConfig;
import com.workos.common.http.RequestOptions;
import com.workos.models.AuthenticationChallenge;
import com.workos.models.AuthenticationFactorEnrolled;
import com.workos.models.AuthenticationChallengeVerifyResponse;
import com.workos.multifactorauth.MultiFactorAuth;
import com.workos.types.AuthenticationFactorsCreateRequestType;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/** The environment of the steps: the library, connected to two servers. */
class Fixture {
  /** A server, and the library that talks to it, directly and through a network. */
  class Server {
    final String url;
    final String key;
    final Network network;
    final WorkOS workos;
    final MultiFactorAuth mfa;
    final MultiFactorAuth far;

    Server(String prefix) {
      url = variable(prefix + "_URL");
      key = variable(prefix + "_API_KEY");
      network = new Network(variable(prefix + "_NETWORK_URL"), report);
      workos = connect(url, key);
      mfa = workos.getMultiFactorAuth();
      far = connect(network.url, key).getMultiFactorAuth();
    }
  }

  final Report report = new Report(connect("http://127.0.0.1", "nobody").version);
  final Server server = new Server("COUNTERSIGN");
  final Server brief = new Server("COUNTERSIGN_BRIEF");
  final MultiFactorAuth mfa = server.mfa;

  private int lastPhone = 99;

  /** Makes a client the way a user of the library does. */
  static WorkOS connect(String url, String key) {
    return WorkOS.builder().apiKey(key).apiBaseUrl(url).build();
  }

  private static String variable(String name) {
    var value = System.getenv(name);
    if (value == null) {
      throw new IllegalArgumentException(name + " is not set; see ../README.md");
    }
    return value;
  }

  static String newUser() {
    return "user_" + UUID.randomUUID();
  }

  /**
   * The library computes its Idempotency-Key from the request, so two equal calls within 30 seconds
   * receive the same answer. A call that must act again needs a new key.
   */
  static RequestOptions newKey() {
    return RequestOptions.builder().idempotencyKey(UUID.randomUUID().toString()).build();
  }

  /** Returns a fictional number without a message so far; a number receives one message in 30 seconds. */
  String phone() {
    var number = "+12025550" + ++lastPhone;
    report.secrets(number);
    return number;
  }

  /** Returns a new factor, whose codes the steps can compute. */
  AuthenticationFactorEnrolled enrollTotp(MultiFactorAuth mfa) {
    var factor = mfa.enrollFactor(AuthenticationFactorsCreateRequestType.Totp, null, "Foo Corp", "user@example.com", newUser());
    report.secrets(factor.getTotp().getSecret());
    return factor;
  }

  AuthenticationFactorEnrolled enrollTotp() {
    return enrollTotp(mfa);
  }

  AuthenticationFactorEnrolled enrollSms(String phone) {
    return mfa.enrollFactor(AuthenticationFactorsCreateRequestType.Sms, phone);
  }

  AuthenticationFactorEnrolled enrollGenericOtp(MultiFactorAuth mfa) {
    return mfa.enrollFactor(AuthenticationFactorsCreateRequestType.GenericOtp, null, null, null, newUser());
  }

  AuthenticationFactorEnrolled enrollGenericOtp() {
    return enrollGenericOtp(mfa);
  }

  /** Returns a challenge of a factor, and reports its code if the challenge shows one. */
  AuthenticationChallenge challenge(AuthenticationFactorEnrolled factor) {
    return seen(mfa.challengeFactor(factor.getId()));
  }

  /** Returns a second challenge of a factor. */
  AuthenticationChallenge challengeAnew(AuthenticationFactorEnrolled factor) {
    return seen(mfa.challengeFactor(factor.getId(), null, newKey()));
  }

  AuthenticationChallenge seen(AuthenticationChallenge challenge) {
    if (challenge.getCode() != null) {
      report.secrets(challenge.getCode());
    }
    return challenge;
  }

  AuthenticationChallengeVerifyResponse verify(AuthenticationChallenge challenge, String code) {
    return mfa.verifyChallenge(challenge.getId(), code);
  }

  /** Returns the inbox for a number, newest first. */
  JsonNode messages(String to, Server server) throws Exception {
    var query = URLEncoder.encode(to, StandardCharsets.UTF_8);
    var messages = Network.ask("GET", server.url + "/dev/inbox?to=" + query).get("messages");
    messages.forEach(message -> report.secrets(message.get("code").asText()));
    return messages;
  }

  /** Returns the only message to a number. */
  JsonNode messageTo(String to) throws Exception {
    var messages = messages(to, server);
    Check.equal("the number of messages", messages.size(), 1);
    Check.matches("the code", messages.get(0).get("code").asText(), "\\d{6}");
    return messages.get(0);
  }

  String codeFor(String to) throws Exception {
    return messageTo(to).get("code").asText();
  }

  /** Sends a request that the library has no method for, by the library's own low-level call. */
  JsonNode post(String path, Map<String, String> body) {
    return server.workos.baseClient.requestJson(new RequestConfig("POST", path, List.of(), body));
  }

  /** Checks that a call fails as the library shows it: by its class, status, code and message. */
  <E extends WorkOSException> E refused(Class<E> kind, int status, String code, String message, Check.Call call) {
    var error = Check.fails(kind, call);
    Check.equal("the status", error.status, status);
    Check.equal("the code", error.code, code);
    Check.equal("the message", error.getMessage(), message);
    Check.matches("requestId", error.requestId, Check.UUID);
    return error;
  }

  void factorNotFound(String id, Check.Call call) {
    notFound("Authentication Factor", id, call);
  }

  void challengeNotFound(String id, Check.Call call) {
    notFound("Authentication Challenge", id, call);
  }

  private void notFound(String what, String id, Check.Call call) {
    refused(NotFoundException.class, 404, "entity_not_found", what + " not found: '" + id + "'.", call);
  }

  void previouslyVerified(AuthenticationChallenge challenge, Check.Call call) {
    refused(UnprocessableEntityException.class, 422, "authentication_challenge_previously_verified",
        "The authentication challenge '" + challenge.getId() + "' has already been verified.", call);
  }

  BadRequestException tooManyAttempts(Check.Call call) {
    return refused(BadRequestException.class, 400, "one_time_code_too_many_attempts", "Request could not be processed.", call);
  }

  /** Checks that a call fails because of one field, and that the library shows the field. */
  void invalid(String field, String code, Check.Call call) {
    var error = refused(UnprocessableEntityException.class, 422, "invalid_request_parameters", "Validation failed", call);
    Check.equal("the number of errors", error.errors.size(), 1);
    var reason = error.errors.get(0);
    Check.equal("the error", reason.field + " " + reason.code, field + " " + field + "_" + code);
    Check.that("the error has a message", reason.message != null && reason.message.contains(" "));
  }
}
