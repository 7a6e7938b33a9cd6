import com.fasterxml.jackson.databind.ObjectMapper;
import com.workos.common.exceptions.WorkOSException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Writes the results of a run as lines of JSON on standard output; ../README.md documents them. */
class Report {
  /** A step. It returns the detail of its line, or null. */
  interface Step {
    String run() throws Exception;
  }

  /** Says that a step does not apply, and gives the reason. */
  static class Skip extends RuntimeException {
    Skip(String reason) {
      super(reason);
    }
  }

  private static final ObjectMapper json = new ObjectMapper();

  private final String version;
  private final Map<String, Object> more = new LinkedHashMap<>();
  private boolean failed;

  Report(String version) {
    this.version = version;
  }

  /** Runs a step and reports the result. A failure does not end the run: later steps give more information. */
  void step(String name, Step step) {
    var line = new LinkedHashMap<String, Object>();
    line.put("library", "com.workos:workos");
    line.put("version", version);
    line.put("step", name);
    more.clear();
    try {
      line.put("detail", step.run());
      line.put("ok", true);
      line.putAll(more);
    } catch (Skip skip) {
      line.put("detail", skip.getMessage());
      line.put("ok", true);
      line.put("skipped", true);
    } catch (Exception | AssertionError e) {
      failed = true;
      line.put("detail", explain(e));
      line.put("ok", false);
    }
    print(line);
  }

  /** Reports a picture that the step received, and its expected text. */
  void shows(String qrCode, String text) {
    more.put("qr_code", qrCode);
    more.put("text", text);
  }

  /** Reports the ids of the events that the step received. */
  void ids(List<String> ids) {
    more.put("ids", ids);
  }

  /** Reports values that went through the server and that no log may contain. */
  void secrets(String... values) {
    print(Map.of("secrets", Arrays.asList(values)));
  }

  boolean failed() {
    return failed;
  }

  private synchronized void print(Map<String, Object> line) {
    try {
      System.out.println(json.writeValueAsString(line));
    } catch (com.fasterxml.jackson.core.JsonProcessingException e) {
      throw new IllegalStateException(e); // strings and lists of strings can always be encoded
    }
  }

  private static String explain(Throwable e) {
    var text = new StringWriter();
    e.printStackTrace(new PrintWriter(text, true));
    if (e instanceof WorkOSException said) {
      text.write("status " + said.status + ", code " + said.code + ", body " + said.rawBody);
    }
    return text.toString();
  }
}
