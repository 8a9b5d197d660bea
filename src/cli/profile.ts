/** `gatehouse profile check`: for people, and for CI, by its exit code. */
import { type Command, Option } from 'commander';
import { type Environment, readConfig, readEnvironment } from '../config.ts';
import { postgresKeys } from '../features/key-rotation/keys.pg.ts';
import { OperatorError } from '../operator/input.ts';
import { type CheckedServer, checkServer, type Finding } from '../operator/profile-check.ts';
import { findClientRecord } from '../postgres/clients.pg.ts';
import { listResources } from '../postgres/resources.pg.ts';
import { type Profile, profiles } from '../protocol/profile.ts';
import { checkedClients, checkOne } from './checked-clients.ts';
import { found, print, type Row } from './output.ts';
import { assembledFor, inWorkplace, type Workplace } from './workplace.ts';

export function profileCommands(program: Command): void {
  const profile = program.command('profile').description('Look at what the profile demands, and whether it holds');

  profile
    .command('check [client_id]')
    .description('Check the server, or a client, clause by clause; ends with 1 when something does not hold')
    .addOption(
      new Option('--profile <name>', 'check against this profile instead of the configured one').choices(
        profiles.map(({ name }) => name),
      ),
    )
    .option('--all', 'check all clients, each as a whole')
    .action(async (clientId: string | undefined, { profile: name, all }, command) => {
      if (all && clientId !== undefined) throw new OperatorError('--all: goes without a client_id.');
      const named = profiles.find((each) => each.name === name);
      const { configured, rows } = await inWorkplace(async (place) => {
        const demanded = named ?? place.profile;
        return {
          configured: place.profile,
          rows: all ? await allClients(place, demanded) : await one(place, demanded),
        };
      });
      async function one(place: Workplace, demanded: Profile): Promise<Finding[]> {
        if (clientId === undefined) return checkServer(await server(place), demanded);
        return checkOne(found(await findClientRecord(place.database, clientId), 'client'), demanded, place);
      }
      if (named === undefined) tellStricter(configured);
      print(
        command,
        rows.map((row): Row => ({ ...row })),
      );
      if (rows.some(({ holds }) => !holds)) process.exitCode = 1;
    });
}

/** Each client in a row, with all that the profile has against it. */
async function allClients(place: Workplace, demanded: Profile) {
  const rows = [];
  for await (const { id, profile, problems } of checkedClients(demanded, place))
    rows.push({ client_id: id, profile, holds: problems.length === 0, problem: problems.join('; ') });
  return rows;
}

/** Whoever meant to set a profile, and did not, would take what holds for what they meant. */
function tellStricter(configured: Profile): void {
  const [laxest, ...stricter] = profiles;
  if (configured !== laxest) return;
  const names = stricter.map(({ name }) => `--profile ${name}`).join(' or ');
  console.error(`gatehouse: checked against ${configured.name}, which is configured: for FAPI 2.0 add ${names}.`);
}

async function server({ database, profile, passwords, context }: Workplace): Promise<CheckedServer> {
  const variables: Environment = readEnvironment(process.env);
  // Read as `dev` reads it: a `serve` that would not start shall be told all of what is wrong, clause by clause.
  const { config } = readConfig('dev', variables, {
    databaseUrl: 'postgres://',
    cookieKeys: [],
    keyEncryptionKeys: [],
  });
  return {
    issuer: config.issuer,
    tls: config.tls !== undefined || config.trustedProxies.length > 0,
    sessionManagement: config.sessionManagement,
    profile,
    registries: assembledFor(database, profile, passwords, context),
    keys: await postgresKeys(database).list(),
    resources: await listResources(database),
  };
}
