/** `gatehouse profile check`: for people, and for CI, by its exit code. */
import { type Command, Option } from 'commander';
import { type Environment, readConfig, readEnvironment } from '../config.ts';
import { postgresKeys } from '../features/key-rotation/keys.pg.ts';
import { type CheckedServer, checkClient, checkServer, type Finding } from '../operator/profile-check.ts';
import { findClientRecord } from '../postgres/clients.pg.ts';
import { listResources } from '../postgres/resources.pg.ts';
import { profileOf, profiles } from '../protocol/profile.ts';
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
    .action(async (clientId: string | undefined, { profile: name }, command) => {
      const demanded = profiles.find((each) => each.name === name);
      const findings = await inWorkplace(async (place): Promise<Finding[]> => {
        if (clientId === undefined) return checkServer(await server(place), demanded ?? place.profile);
        const client = found(await findClientRecord(place.database, clientId), 'client');
        return checkClient(client.metadata, demanded ?? profileOf(client, place.profile));
      });
      print(
        command,
        findings.map((finding): Row => ({ ...finding })),
      );
      if (findings.some(({ holds }) => !holds)) process.exitCode = 1;
    });
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
