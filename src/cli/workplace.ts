/**
 * Where a command works: the database of the environment, or the embedded one of the data folder, which is joined when
 * it runs and started for the command's own duration when it does not.
 */
import {
  type ClientCertificates,
  ConfigurationError,
  clientCertificates,
  type Environment,
  issuerOf,
  readEnvironment,
} from '../config.ts';
import { features } from '../features.ts';
import { developmentKeys } from '../operator/data-folder.ts';
import { OperatorError } from '../operator/input.ts';
import { Audit } from '../postgres/audit.pg.ts';
import { openDatabase, type Sql } from '../postgres/database.ts';
import { type EmbeddedPostgres, startEmbedded } from '../postgres/embedded.ts';
import { migrate, missingMigrations } from '../postgres/migrations.ts';
import { keepPartitions } from '../postgres/partitions.ts';
import type { RegistrationRules } from '../protocol/client.ts';
import type { Context } from '../protocol/context.ts';
import { KeyEncryption } from '../protocol/key-encryption.ts';
import { oauth21, type Profile, profiles } from '../protocol/profile.ts';
import { assemble, type Registries, registrationRules } from '../protocol/registries.ts';
import { Passwords } from '../protocol/secrets.ts';
import { systemContext } from '../system-context.ts';

export interface Workplace {
  readonly database: Sql;
  readonly context: Context;
  /** The server's; it is not asked, so the command's environment has to say it where the server's does. */
  readonly issuer: string;
  readonly profile: Profile;
  readonly rules: RegistrationRules;
  readonly passwords: Passwords;
  readonly passwordMin: number;
  /** Tests only: fetches may go to this machine. */
  readonly allowLoopbackFetch: boolean;
  /** What client certificates get to a server with these variables. */
  readonly clientCertificates: ClientCertificates;
  /** @throws ConfigurationError when there is no key-encryption key to be had */
  encryption(): Promise<KeyEncryption>;
}

export interface OpenedDatabase {
  readonly url: string;
  readonly embedded: EmbeddedPostgres | undefined;
}

/** The database's address; starts or joins the embedded one where none is configured. */
export async function findDatabase(variables: Environment): Promise<OpenedDatabase> {
  if (variables.DATABASE_URL !== undefined) return { url: variables.DATABASE_URL, embedded: undefined };
  // A Ctrl-C waits until the command is done and its database stopped again; a second one does not.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => undefined);
  const embedded = await inDataFolder(startEmbedded({ dataFolder: variables.GATEHOUSE_DATA }));
  return { url: embedded.connectionString, embedded };
}

/** @throws ConfigurationError when the system refuses a file or folder there */
export async function inDataFolder<T>(work: Promise<T>): Promise<T> {
  return work.catch((error: NodeJS.ErrnoException) => {
    throw error.syscall !== undefined && error.path !== undefined
      ? new ConfigurationError(`GATEHOUSE_DATA: ${error.message}: choose a folder you may write to.`)
      : error;
  });
}

/**
 * Runs a command's work in its workplace and cleans up behind it.
 * @throws Error when the schema is older than this version (the embedded one is brought up to date instead)
 */
export async function inWorkplace<T>(work: (place: Workplace) => Promise<T>): Promise<T> {
  const variables = readEnvironment(process.env);
  const context = systemContext;
  const { url, embedded } = await findDatabase(variables);
  const database = openDatabase({
    url,
    poolMax: 4,
    prepared: variables.GATEHOUSE_PREPARED,
    makePartitions: async (connection) => void (await keepPartitions(connection, context.now())),
  });
  try {
    if (embedded) await migrate(database.sql, context.now());
    const [missing] = await missingMigrations(database.sql);
    if (missing !== undefined)
      throw new OperatorError(`The database schema lacks ${missing}: run \`gatehouse migrate\` first.`);
    const passwords = new Passwords();
    const profile = profiles.find(({ name }) => name === variables.GATEHOUSE_PROFILE) ?? oauth21;
    const encryption = async () => {
      const keys =
        variables.GATEHOUSE_KEY_ENCRYPTION_KEY ??
        (await inDataFolder(developmentKeys(variables.GATEHOUSE_DATA, context))).keyEncryptionKeys;
      return new KeyEncryption(keys, context.random);
    };
    const rules = rulesFor(database.sql, profile, passwords, context);
    const result = await work({
      database: database.sql,
      context,
      issuer: issuerOf(variables),
      profile,
      rules,
      passwords,
      passwordMin: variables.GATEHOUSE_PASSWORD_MIN,
      allowLoopbackFetch: variables.GATEHOUSE_ALLOW_LOOPBACK_FETCH,
      clientCertificates: clientCertificates(variables),
      encryption,
    });
    await record(database.sql, context);
    return result;
  } finally {
    await database.close();
    await embedded?.stop();
  }
}

const CHANGES = /^(create|update|delete|disable|enable|set-password|rotate|rotate-secret|reencrypt|revoke|end)$/;

/** What an operator changed, for the audit trail: the command and whom it was about, never what was in its file. */
async function record(database: Sql, context: Context): Promise<void> {
  const [group = '', verb = '', subject = ''] = process.argv.slice(2);
  if (!CHANGES.test(verb)) return;
  const audit = new Audit(database, context);
  const detail = subject === '' || subject.startsWith('-') ? undefined : { subject };
  audit.record({ event: `operator ${group} ${verb}`, detail, refusal: false });
  await audit.flush();
}

/** What may be registered, from the same registries the server is assembled from. */
export function rulesFor(database: Sql, profile: Profile, passwords: Passwords, context: Context): RegistrationRules {
  return registrationRules(assembledFor(database, profile, passwords, context), profile);
}

/** The registries of a server with this profile. */
export function assembledFor(database: Sql, profile: Profile, passwords: Passwords, { random }: Context): Registries {
  // Registering reads no key: one that opens nothing will do.
  const parts = {
    database,
    profile,
    passwords,
    cookieKeys: [],
    encryption: new KeyEncryption([random(32)], random),
    sessionManagement: true,
    dpopNonce: false,
    // How they get to the server is its own configuration.
    mutualTls: { authorities: true, aliasOrigin: undefined },
    allowLoopbackFetch: false,
  };
  return assemble(
    features.map((line) => line(parts)),
    profile,
  );
}
