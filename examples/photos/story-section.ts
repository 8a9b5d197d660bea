/** The story of a call, in words for the person it was about. */
import { type Html, html } from './html.ts';
import type { Account } from './sessions.ts';
import type { Told } from './story.ts';

/** What people call the applications that tokens name. */
const NAMES: Readonly<Record<string, string>> = {
  'photos-web': 'Photos Web',
  'photos-api': 'the Photos API',
  'storage-api': 'the Storage API',
};

/** @param told by the first API first; the last one was told most */
export function storySection({ sub, name }: Account, told: readonly Told[]): Html | undefined {
  const last = told.at(-1);
  if (last === undefined) return undefined;
  const { client, at } = last.origin;
  const began = new Date(at * 1000);
  return html`<section class="story" id="story">
      <h2>How your photos came to you</h2>
      <p>${nameOf(client)} got a token for the Photos API at
        <time datetime="${began.toISOString()}">${began.toLocaleTimeString('en-GB')}</time>, because you
        had signed in. Nobody passed it on: each API exchanged what it got for a token of its own, and still the last one knows
        where it all began.</p>
      <ol>
        <li><strong>You</strong> <span>${name}, with ${nameOf(client)}</span></li>${told.map(
          (each) => html`
        <li><strong>${each.name}</strong> <span>was asked ${each.sub === sub ? 'for you' : `for ${each.sub}`}
          by ${pathOf(each)}</span></li>`,
        )}
      </ol>
      <p class="aside">All of it has one number, which each token carries. The operator of Gatehouse sees the whole call, refused
        steps included, with <code id="calls-show">npx gatehouse calls show ${last.txn}</code></p>
    </section>`;
}

/** Who asks now, for whom, and so on to the one that began. */
function pathOf({ actors, origin }: Told): string {
  return [...actors, origin.client].map(nameOf).join(', which was asked by ');
}

function nameOf(client: string): string {
  return NAMES[client] ?? client;
}
