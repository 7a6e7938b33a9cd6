/**
 * Runs the complete life of factors against a server with the library com.workos:workos, and prints
 * the result of each step. ../README.md documents the environment.
 */
public class Life {
  public static void main(String[] args) throws Exception {
    var fixture = new Fixture();
    Factors.run(fixture);
    Challenges.run(fixture);
    Refusals.run(fixture);
    Users.run(fixture);
    Lists.run(fixture);
    Retries.run(fixture);
    Timing.run(fixture);
    Webhooks.run(fixture);
    System.exit(fixture.report.failed() ? 1 : 0);
  }
}
