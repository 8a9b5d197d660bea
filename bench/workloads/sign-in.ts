/**
 * A person signs in with a password. oidc-provider leaves passwords to whoever embeds it, so it takes no part.
 *
 * The hash is made to be dear (argon2id, 19 MiB, two passes), so what a server adds should hardly show; and nobody else may
 * wait for it, which the second workload looks at.
 */
import { repeat, type Script } from '../harness/load.ts';
import { STORAGE } from '../servers/cast.ts';
import {
  cycle,
  oneRequest,
  type Requests,
  requestsTo,
  type Setting,
  type Target,
  type Workload,
} from '../servers/target.ts';
import { Browser } from './browser.ts';
import { authorizationFields, impossible, signedInBrowsers } from './code-requests.ts';
import { introspectionRequests } from './introspection.ts';

/** Some eighty in a second. */
const STRETCH = 3;

const ofAnOpenPage = (name: string, ceiling: string): Workload => ({
  name,
  about: 'POST /login with the right password, of a page that was opened before',
  ceiling,
  servers: ['gatehouse', 'ceiling'],
  stretch: STRETCH,
  async prepare(target, setting) {
    if (target.kind === 'ceiling') return signIns(target, this.name, setting);
    const requests = requestsTo(target, this.name);
    const browsers = Array.from({ length: setting.connections }, (_, connection) =>
      newBrowser(requests, setting, connection, { stopsAtLogin: true }),
    );
    await repeat(target.process.port, browsers.length, (index) => browsers[index] ?? impossible());
    // The page stays open: each time it is sent again a new session begins.
    return (connection) => ({
      begin: () => browsers[connection]?.login ?? impossible(),
      answered: ({ status, head }) => (status === 303 && head.includes('gatehouse_session_') ? 'done' : 'failed'),
    });
  },
});

const HASH = 'one argon2id verification, as many at once as in Gatehouse';

export const signIn = ofAnOpenPage('sign-in', HASH);

export const signInReference = ofAnOpenPage(
  'sign-in-reference',
  `${HASH}, by the reference implementation (the package argon2)`,
);

export const signInFlow: Workload = {
  name: 'sign-in-flow',
  about: 'a new browser from GET /authorize over the page and POST /login to the code at the client',
  ceiling: HASH,
  servers: ['gatehouse', 'ceiling'],
  stretch: STRETCH,
  prepare(target, setting) {
    return signIns(target, this.name, setting);
  },
};

/** Of four connections one introspects while three sign in. */
const SIGN_INS_OF_FOUR = 3;

export const introspectionUnderSignIn: Workload = {
  name: 'introspection-under-sign-in',
  about: 'POST /token_info of an opaque access token on every fourth connection, while the others sign people in',
  ceiling: 'one SELECT, while argon2id verifications are made, as many at once as in Gatehouse',
  servers: ['gatehouse', 'ceiling'],
  p99Target: 20,
  async prepare(target, setting) {
    const requests = await introspectionRequests(target, this.name, setting, STORAGE);
    const signIn = await signIns(target, this.name, setting);
    return (connection) =>
      connection % 4 < SIGN_INS_OF_FOUR && connection + 1 < setting.connections
        ? inBackground(signIn(connection))
        : oneRequest(cycle(requests, connection, setting.connections), 200, '"active":true');
  },
};

function inBackground(script: Script): Script {
  return { begin: () => script.begin(), answered: (answer) => script.answered(answer), background: true };
}

async function signIns(target: Target, workload: string, setting: Setting): Promise<(connection: number) => Script> {
  const requests = requestsTo(target, workload);
  if (target.kind === 'ceiling') {
    const verify = requests.post('/verify', {});
    return () => oneRequest(() => verify, 200, '"verified":true');
  }
  const flow = { client: 'web' };
  // Everybody has agreed by then: an iteration has no consent page.
  await signedInBrowsers(target, workload, setting, flow);
  return (connection) => newBrowser(requests, setting, connection, { forgets: true });
}

function newBrowser(
  requests: Requests,
  { cast }: Setting,
  connection: number,
  options: { forgets?: boolean; stopsAtLogin?: boolean },
): Browser {
  const username = cast.people[connection]?.username ?? '';
  const query = new URLSearchParams(authorizationFields({ client: 'web' }, username));
  return new Browser(requests, `/authorize?${query}`, username, options);
}
