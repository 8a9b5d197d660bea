/**
 * Where everything is and who is who: the addresses that Gatehouse's demo data registers, and the secrets it drew at
 * random at its first start, which it keeps in `<data folder>/demo.json`.
 *
 * GATEHOUSE_DATA names that folder (.gatehouse); GATEHOUSE_ISSUER must be the issuer that wrote it.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const WEB_APP = 'http://localhost:4000';
const PHOTOS_API = 'http://localhost:4001';
const STORAGE_API = 'http://localhost:4002';
const ARCHIVE_API = 'http://localhost:4003';

/** This machine only; in a container PHOTOS_HOST says `0.0.0.0`, and its published ports say who gets in. */
export const listenOn = process.env.PHOTOS_HOST ?? 'localhost';

/**
 * How its servers stop: at once. Fastify alone lets a connection that a request was under way on rest for 72 more seconds, and
 * whoever pressed Ctrl-C would wait for it.
 */
export const stopping = { forceCloseConnections: true } as const;

/** A fault whose message says what to do, so that nobody needs its stack. */
class SetupFault extends Error {}

/** Seconds to wait for Gatehouse: it may have been started in the same moment. */
const PATIENCE = 30;

/** What each of the roles is started with. */
type DemoSettings = Awaited<ReturnType<typeof readSettings>>;

/** Reads the settings once Gatehouse answers. */
async function readSettings() {
  const file = join(process.env.GATEHOUSE_DATA ?? '.gatehouse', 'demo.json');
  const demo = await waitForGatehouse(file);
  const { issuer } = demo;
  const credentials = (clientId: string) => {
    const clientSecret = demo.clients[clientId]?.client_secret;
    if (clientSecret === undefined && demo.clients['photos-fapi'] !== undefined)
      throw new SetupFault('This demo needs the profile oauth21, and Gatehouse runs under FAPI 2.0: npm run demo:fapi');
    if (clientSecret === undefined) throw new SetupFault(`${file} has no secret of the client ${clientId}`);
    return { issuer, clientId, clientSecret };
  };
  return {
    issuer,
    webApp: {
      ...credentials('photos-web'),
      port: 4000,
      origin: WEB_APP,
      photosApi: PHOTOS_API,
      spaClientId: 'photos-spa',
    },
    photosApi: {
      ...credentials('photos-api'),
      port: 4001,
      resource: PHOTOS_API,
      storageApi: STORAGE_API,
      allowedOrigins: [WEB_APP],
    },
    storageApi: { ...credentials('storage-api'), port: 4002, resource: STORAGE_API, archiveApi: ARCHIVE_API },
    archiveApi: { issuer, port: 4003, resource: ARCHIVE_API },
    batch: { ...credentials('photos-batch'), photosApi: PHOTOS_API },
  };
}

/** `demo.json`, as Gatehouse writes it. */
interface DemoFile {
  readonly issuer: string;
  readonly clients: Readonly<Record<string, { readonly client_secret?: string }>>;
}

/** The file appears with Gatehouse's first start, so it is looked for again until the issuer it names answers. */
async function waitForGatehouse(file: string): Promise<DemoFile> {
  let issuer = process.env.GATEHOUSE_ISSUER ?? 'http://localhost:3000';
  for (let second = 0; second < PATIENCE; second += 1) {
    const demo = await readDemoFile(file);
    issuer = process.env.GATEHOUSE_ISSUER ?? demo?.issuer ?? issuer;
    const silence = await silenceOf(issuer);
    if (silence === undefined) {
      if (demo === undefined)
        throw new SetupFault(`Gatehouse answers at ${issuer}, but its demo data is not in ${file}`);
      if (demo.issuer !== issuer) throw new SetupFault(`${file} belongs to ${demo.issuer}, not to ${issuer}`);
      return demo;
    }
    if (second === 0) console.log(`Waiting for Gatehouse at ${issuer} (start it with npm start): ${silence}`);
    await sleep(1000);
  }
  throw new SetupFault(`No Gatehouse answers at ${issuer}: ${await silenceOf(issuer)}. Start it with npm start`);
}

async function readDemoFile(file: string): Promise<DemoFile | undefined> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new SetupFault(`${file} cannot be read: ${error.message}`);
  });
  return text === undefined ? undefined : (JSON.parse(text) as DemoFile);
}

/** Why nobody answers there, or `undefined`. A certificate of one's own needs NODE_EXTRA_CA_CERTS to be trusted. */
async function silenceOf(issuer: string): Promise<string | undefined> {
  const metadata = `${issuer}/.well-known/openid-configuration`;
  return fetch(metadata, { signal: AbortSignal.timeout(2000) }).then(
    (response) => (response.ok ? undefined : `the answer was ${response.status}`),
    (error: Error) => (error.cause instanceof Error ? error.cause.message : error.message),
  );
}

/**
 * The last line of each file here that is a program: runs `main` when that file was started by itself, and not when
 * another one imports it.
 *
 * @param moduleUrl `import.meta.url` of the file
 */
export async function whenStartedDirectly(
  moduleUrl: string,
  main: (settings: DemoSettings) => Promise<unknown>,
): Promise<void> {
  if (moduleUrl !== pathToFileURL(process.argv[1] ?? '').href) return;
  try {
    await main(await readSettings());
  } catch (error) {
    const isPortTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
    if (!isPortTaken && !(error instanceof SetupFault)) throw error;
    console.error(error.message);
    process.exit(1); // servers that did start would go on
  }
}
