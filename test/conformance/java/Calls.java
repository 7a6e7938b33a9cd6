import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.workos.WorkOS;
import com.workos.common.http.RequestConfig;
import com.workos.types.AuthenticationFactorsCreateRequestType;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** Makes the calls that it reads, one per line; ../kinds_test.go documents the form. */
public class Calls {
  private static final ObjectMapper json = new ObjectMapper();

  public static void main(String[] args) throws Exception {
    var workos = Fixture.connect(System.getenv("COUNTERSIGN_URL"), System.getenv("COUNTERSIGN_API_KEY"));
    print(Map.of("version", workos.version));
    var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (var line = in.readLine(); line != null; line = in.readLine()) {
      try {
        print(Map.of("value", call(workos, json.readTree(line))));
      } catch (RuntimeException e) {
        print(Map.of("error", e.toString()));
      }
    }
  }

  private static Object call(WorkOS workos, JsonNode call) {
    var mfa = workos.getMultiFactorAuth();
    var value = new HashMap<String, Object>();
    switch (call.get(0).asText()) {
      case "enroll" -> {
        var type = List.of(AuthenticationFactorsCreateRequestType.values()).stream()
            .filter(t -> Objects.equals(t.getValue(), call.get(1).asText())).findFirst();
        value.put("id", mfa.enrollFactor(type.orElseThrow(() -> new IllegalArgumentException("no such type"))).getId());
      }
      case "challenge" -> {
        var challenge = mfa.challengeFactor(call.get(1).asText(), null, Fixture.newKey());
        value.put("id", challenge.getId());
        value.put("code", challenge.getCode());
      }
      case "verify" -> value.put("valid", mfa.verifyChallenge(call.get(1).asText(), call.get(2).asText()).getValid());
      case "post" -> {
        return workos.baseClient.requestJson(new RequestConfig("POST", call.get(1).asText(), List.of(), json.convertValue(call.get(2), Map.class)));
      }
      default -> throw new IllegalArgumentException("no such call");
    }
    return value;
  }

  private static void print(Object line) throws Exception {
    System.out.println(json.writeValueAsString(line));
  }
}
