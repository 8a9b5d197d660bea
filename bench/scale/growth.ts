/** Gatehouse on a full database beside Gatehouse on an empty one: what does it cost that there is much? */

import type { Options } from '../options.ts';
import { chosen, measureAll, onStage, type RunResult, type Stage } from '../run.ts';
import { credentialsOf, PHOTOS } from '../servers/cast.ts';
import { buildGatehouse, seedGatehouse, startGatehouse } from '../servers/gatehouse.ts';
import {
  cycle,
  oneRequest,
  type Requests,
  requestsTo,
  type Setting,
  type Target,
  type Workload,
} from '../servers/target.ts';
import { clientCredentialsOpaque } from '../workloads/client-credentials.ts';
import { codeFlowEs256 } from '../workloads/code-flow.ts';
import { authenticationOf } from '../workloads/code-requests.ts';
import { revocation } from '../workloads/revocation.ts';
import { type Filled, fill, type Samples } from './fill.ts';

export interface ScaleResult extends RunResult {
  readonly filled: Omit<Filled, 'samples'>;
}

/** Fills one database with `scale` tokens and another with as many as are used, and compares. */
export async function compareGrowth(options: Options, scale: number): Promise<ScaleResult> {
  const samplesOf = new Map<string, Samples>();
  const selected = chosen(growthWorkloads(samplesOf), options.only);
  return onStage(async (stage) => {
    const { postgres } = stage;
    const seeded = await postgres.createDatabase('empty');
    const cast = await seedGatehouse(seeded, options.connections);
    const full = await postgres.createDatabase('filled', seeded);
    const samples = options.tokens;
    const few = await fill({ databaseUrl: seeded, tokens: samples, samples, history: 'recent' });
    console.log(`Filling a database with ${scale.toLocaleString('en-US')} tokens and what belongs to them:`);
    const filled = await fill({ databaseUrl: full, tokens: scale, samples, history: 'years' });
    printSizes(filled);
    samplesOf.set(seeded, few.samples).set(full, filled.samples);
    const targets = await startServers(stage, { empty: seeded, filled: full });
    const setting: Setting = { cast, connections: options.connections, tokens: samples };
    const pairs = [['filled', 'empty']] as const;
    const result = await measureAll(selected, targets, { ...options, setting, postgres, pairs }, stage);
    return { ...result, filled: { seconds: filled.seconds, tables: filled.tables } };
  });
}

async function startServers(stage: Stage, databases: Readonly<Record<string, string>>): Promise<Target[]> {
  const { folder, serverCore: core } = stage;
  const built = buildGatehouse(folder);
  const targets: Target[] = [];
  for (const [name, databaseUrl] of Object.entries(databases)) {
    const process = await startGatehouse({ built, databaseUrl, folder, name, core });
    stage.atEnd(() => process.stop());
    targets.push({ name, kind: 'gatehouse', process, databaseUrl });
  }
  return targets;
}

function printSizes({ seconds, tables }: Filled): void {
  const megabytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20).toLocaleString('en-US')} MB`;
  for (const { name, rows, bytes, partitions } of tables)
    console.log(`  ${name}: ${rows.toLocaleString('en-US')} rows, ${megabytes(bytes)}, ${partitions} partitions`);
  const total = tables.reduce((sum, { bytes }) => sum + bytes, 0);
  console.log(`  ${megabytes(total)} in ${Math.round(seconds)} s\n`);
}

/** Those that read or write tables that grow. Tokens that are presented are from all over the table. */
function growthWorkloads(samplesOf: ReadonlyMap<string, Samples>): Workload[] {
  const onFilled = (
    workload: Pick<Workload, 'name' | 'about'>,
    kind: keyof Samples,
    marker: string,
    request: (token: string, requests: Requests, setting: Setting) => Buffer,
  ): Workload => ({
    ...workload,
    ceiling: '–',
    servers: ['gatehouse'],
    async prepare(target, setting) {
      const requests = requestsTo(target, workload.name);
      const tokens = samplesOf.get(target.databaseUrl)?.[kind] ?? [];
      const prepared = tokens.map((token) => request(token, requests, setting));
      return (connection) => oneRequest(cycle(prepared, connection, setting.connections), 200, marker);
    },
  });
  return [
    onFilled(
      { name: 'introspection-opaque', about: 'POST /token_info of opaque access tokens of people' },
      'accessTokens',
      '"active":true',
      (token, requests, { cast }) => requests.post('/token_info', { token }, credentialsOf(cast, 'storage-api')),
    ),
    onFilled(
      { name: 'refresh', about: 'POST /token with refresh tokens of a confidential client' },
      'refreshTokens',
      '"access_token":"eyJ',
      (token, requests, { cast }) =>
        requests.form(
          '/token',
          authenticationOf(cast, 'web').headers,
        )(`grant_type=refresh_token&refresh_token=${token}&resource=${encodeURIComponent(PHOTOS)}`),
    ),
    codeFlowEs256,
    clientCredentialsOpaque,
    onFilled(
      { name: 'userinfo', about: 'GET /userinfo with opaque access tokens of people' },
      'accessTokens',
      '"sub":"',
      (token, requests) => requests.get('/userinfo', { Authorization: `Bearer ${token}` }),
    ),
    revocation,
  ];
}
