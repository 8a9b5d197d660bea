/** What `gatehouse dev` says when it is ready: where it is, and a line to paste for each main flow. */
import type { Config } from '../config.ts';
import type { DemoSecrets } from '../operator/data-folder.ts';

/**
 * @param demo `undefined` where there is no demo data
 * @param forbidden ids of the clients that this profile has something against
 */
export function banner(config: Config, demo: DemoSecrets | undefined, forbidden: readonly string[]): string {
  const { issuer, profile, mutualTls } = config;
  const http = issuer.startsWith('http:') ? '; plain http, because the issuer is loopback' : '';
  return [
    '',
    `  Gatehouse is ready on ${issuer} (profile ${profile.name}${http})`,
    ...(mutualTls?.door ? [`  Clients with certificates call ${mutualTls.door.origin}`] : []),
    '',
    ...(demo ? invitation(issuer, demo) : bare(config)),
    ...(forbidden.length === 0 ? [] : left(forbidden, profile.name)),
    '',
  ].join('\n');
}

function invitation(issuer: string, demo: DemoSecrets): string[] {
  const as = (client: string) => `curl -s -u ${client}:${demo.clients[client]?.client_secret}`;
  const token = `${as('photos-batch')} -d grant_type=client_credentials ${issuer}/token`;
  const carryOver = `sed 's/.*"access_token":"\\([^"]*\\)".*/token=\\1/'`;
  const batch = demo.clients['photos-batch'] && demo.clients['photos-api'];
  const story = demo.clients['photos-web'];
  const fapi = demo.clients['photos-fapi'];
  return [
    '  Sign in as alice / wonderland or bob / builder:',
    `    ${issuer}/account`,
    // Unless their owner has deleted them since.
    ...(batch === undefined
      ? []
      : [
          '  A token for a backend:',
          `    ${token}`,
          '  What such a token is worth, asked by the API it is for:',
          `    ${token} | ${carryOver} | ${as('photos-api')} -d @- ${issuer}/token_info`,
        ]),
    ...(story === undefined ? [] : ['  The whole story in a browser (in another terminal):', '    npm run demo']),
    ...(fapi === undefined
      ? []
      : ['  A client without any shared secret, photos-fapi (in another terminal):', '    npm run demo:fapi']),
  ];
}

/** Names shown; the check has them all. */
const SHOWN = 8;

/** Clients of a laxer profile, registered in this data folder before. */
function left(forbidden: readonly string[], profile: string): string[] {
  const more = forbidden.length > SHOWN ? ' and others' : '';
  return [
    `  Registered here, and forbidden by ${profile}: ${forbidden.slice(0, SHOWN).join(', ')}${more}. What it has against them:`,
    `    npx gatehouse profile check --all --profile ${profile}`,
  ];
}

function bare({ demoData }: Config): string[] {
  return [
    demoData
      ? '  This database has users of its own, so there is no demo data.'
      : '  No demo data: it is made only where the server listens on loopback, or with GATEHOUSE_DEMO_DATA=on.',
    '  Begin with: npx gatehouse users create --help, npx gatehouse clients create --help',
  ];
}
