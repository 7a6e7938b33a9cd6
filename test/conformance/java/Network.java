import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.StreamSupport;

/**
 * The network between the library and a server, which fails on request. It is part of the Go tests;
 * ../network_test.go documents its commands.
 */
class Network {
  private static final Pattern SECRET = Pattern.compile("\"(?:secret|code)\":\"([A-Z2-7]{26,}|\\d{6})\"");

  final String url;
  private final Report report;

  Network(String url, Report report) {
    this.url = url;
    this.report = report;
  }

  /**
   * Makes the network lose the next "request", or the "reply" to it. The caller cannot distinguish
   * the two cases.
   */
  void lose(String what) throws Exception {
    ask("POST", url + "/-/lose-" + what);
  }

  /** Returns the requests since the last loss, each with its outcome. */
  List<JsonNode> tries() throws Exception {
    var tries = StreamSupport.stream(ask("GET", url + "/-/tries").spliterator(), false).toList();
    for (var attempt : tries) {
      SECRET.matcher(attempt.path("reply_body").asText()).results().forEach(found -> report.secrets(found.group(1)));
    }
    return tries;
  }

  /** Returns a webhook that was signed just now. */
  JsonNode delivery() throws Exception {
    var delivery = ask("GET", url + "/-/webhook");
    report.secrets(delivery.get("secret").asText());
    return delivery;
  }

  /** Sends a request without the library. */
  static JsonNode ask(String method, String url) throws IOException, InterruptedException {
    var request = HttpRequest.newBuilder(URI.create(url)).method(method, HttpRequest.BodyPublishers.noBody())
        .header("Accept", "application/json").build();
    var reply = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
    Check.equal("the status of " + url, reply.statusCode(), 200);
    return new ObjectMapper().readTree(reply.body());
  }
}
