/** `gatehouse exchange-policies …` */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Explanation } from '../operator/exchange-explanation.ts';
import { addExchangePolicy, changeExchangePolicy, notesOnPolicy } from '../operator/exchange-policies.ts';
import { deleteExchangePolicy, findExchangePolicy, listExchangePolicies } from '../postgres/exchange-policies.pg.ts';
import type { Hop, MayAct } from '../protocol/call.ts';
import { explainExchange } from './exchange-test.ts';
import { found, print, readInput, table } from './output.ts';
import { inWorkplace } from './workplace.ts';

export function exchangePolicyCommands(program: Command): void {
  const policies = program
    .command('exchange-policies')
    .description('Say which client may exchange tokens for which API towards which other one (RFC 8693)');

  policies
    .command('create')
    .description('Make a policy; what no policy allows is refused')
    .requiredOption(
      '--file <file>',
      '{ "name", "client", "source", "target", "scopes": { source scope: [target scopes] }, … } as JSON; - for standard input',
    )
    .action(async ({ file }, command) => {
      const input = await readInput(file);
      const made = await inWorkplace(async (place) => {
        const policy = await addExchangePolicy(place.database, input, place, place.context.now());
        for (const note of await notesOnPolicy(place.database, policy, place.issuer))
          console.error(`gatehouse: ${note}`);
        return policy;
      });
      print(command, { ...made });
    });

  policies
    .command('list')
    .description('List policies')
    .option('--client <client_id>', 'of this client')
    .action(async ({ client }, command) => {
      const all = await inWorkplace(({ database }) => listExchangePolicies(database));
      print(
        command,
        all
          .filter((policy) => client === undefined || policy.client === client)
          .map(({ name, client, source, target, scopes, mode, max_depth, lifetime }) => ({
            name,
            client,
            source,
            target,
            scopes,
            mode,
            max_depth,
            lifetime,
          })),
      );
    });

  policies
    .command('show <name>')
    .description('Show a policy')
    .action(async (name, _options, command) => {
      print(command, { ...known(await inWorkplace(({ database }) => findExchangePolicy(database, name))) });
    });

  policies
    .command('update <name>')
    .description('Change what a policy gives: fields of the file replace its own, null removes one')
    .requiredOption('--file <file>', 'the policy as JSON; - for standard input')
    .action(async (name, { file }, command) => {
      const changes = await readInput(file);
      const changed = await inWorkplace(async (place) => {
        const before = known(await findExchangePolicy(place.database, name));
        return changeExchangePolicy(place.database, before, changes, place, place.context.now());
      });
      print(command, { ...changed });
    });

  policies
    .command('delete <name>')
    .description('Delete a policy: tokens that were made by it, and from those, end at once')
    .action(async (name, _options, command) => {
      const outcome = await inWorkplace(({ database }) => deleteExchangePolicy(database, name));
      known(outcome === 'deleted' ? outcome : undefined);
      print(command, { name, deleted: true });
    });

  const aboutToken = ['source', 'subjectScope', 'hops', 'mayAct'];
  policies
    .command('test')
    .description(
      'Explain what would become of an exchange, rule by rule, and make no token; ends with 1 when it is refused',
    )
    .requiredOption('--client <client_id>', 'who asks')
    .requiredOption('--target <target>', 'for which API, or trust domain')
    .option('--scope <scope>', 'what is asked for; all that can be had, where it is not said')
    .addOption(new Option('--actor <sub[,issuer]>', 'who acts; the client, where it is not said').argParser(readParty))
    .option('--source <source>', 'what the subject token is for (may be repeated)', (one, all: string[] = []) => [
      ...all,
      one,
    ])
    .option('--subject-scope <scope>', 'what it carries')
    .addOption(new Option('--may-act <sub[,issuer]>', 'whom alone it lets act').argParser(readParty))
    .addOption(
      new Option(
        '--hops <steps>',
        "the steps before, as client>target and more of them after commas, in quotes: 'photos-api>https://storage.example'",
      ).argParser(readHops),
    )
    .addOption(
      new Option(
        '--subject-token <file>',
        'a real one in this file, which says all that itself; - for standard input',
      ).conflicts(aboutToken),
    )
    .action(async (asked, command) => {
      const explanation = await inWorkplace((place) => explainExchange(asked, place));
      print(command, { ...explanation }, drawExplanation(explanation));
      if (explanation.outcome === 'refused') process.exitCode = 1;
    });
}

function known<T>(value: T | undefined): T {
  return found(value, 'exchange policy', 'exchange-policies');
}

/** `sub` or `sub,https://issuer`. */
export function readParty(value: string): MayAct {
  const [, sub = value, iss] = /^(.+?),(https?:\/\/\S+)$/.exec(value) ?? [];
  return { sub, ...(iss !== undefined && { iss }) };
}

/** `client>target,client>target`: addresses may hold commas, ids of clients and `>` neither. */
export function readHops(value: string): Hop[] {
  return value.split(/,(?=[^,>]+>)/).map((hop) => {
    const [, client, target] = /^([^,>]+)>([^>]+)$/.exec(hop) ?? [];
    if (client === undefined || target === undefined)
      throw new InvalidArgumentError('It must be client>target, and more of them after commas.');
    return { client, target };
  });
}

/** Every rule that was asked, and the outcome. */
function drawExplanation(explanation: Explanation): string {
  const { outcome, rule, error, policy, mode, scope = [], lifetime, findings } = explanation;
  const told =
    outcome === 'allowed'
      ? `${scope.join(' ')} by ${policy}, ${mode}, for ${lifetime} seconds at most`
      : `${error}, by the rule ${rule}`;
  return `${table(findings.map((finding) => ({ ...finding })))}\n\n${outcome}: ${told}`;
}
