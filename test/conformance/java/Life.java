/**
 * Runs the complete life of factors against a server with the library com.workos:workos, and prints
 * the result of each step. ../README.md documents the environment.
 */
public class Life {
  public static void main(String[] args) throws Exception {
    var world = new World();
    Factors.run(world);
    Challenges.run(world);
    Refusals.run(world);
    Users.run(world);
    Lists.run(world);
    Retries.run(world);
    Timing.run(world);
    Webhooks.run(world);
    System.exit(world.report.failed() ? 1 : 0);
  }
}
