/** Where a process spent its time, from the profiles that `node --cpu-prof` writes when it ends. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What of the format is read; `timeDeltas` are microseconds, one for each sample. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface FunctionTime {
  readonly name: string;
  readonly place: string;
  /** Milliseconds in the function itself, without what it called. */
  readonly self: number;
  /** Of the time in which the process was not idle. */
  readonly share: number;
}

/** Functions by the time spent in them, the dearest first; idle time is left out. */
export function selfTimes({ nodes, samples, timeDeltas }: CpuProfile): FunctionTime[] {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const times = new Map<string, { name: string; place: string; self: number }>();
  let busy = 0;
  for (const [index, id] of samples.entries()) {
    const frame = frames.get(id);
    if (!frame || frame.functionName === '(idle)') continue;
    const self = (timeDeltas[index] ?? 0) / 1000;
    const name = frame.functionName || '(anonymous)';
    const place = frame.url === '' ? '' : `${shortened(frame.url)}:${frame.lineNumber + 1}`;
    const entry = times.get(`${name} ${place}`) ?? { name, place, self: 0 };
    entry.self += self;
    times.set(`${name} ${place}`, entry);
    busy += self;
  }
  return [...times.values()].sort((a, b) => b.self - a.self).map((entry) => ({ ...entry, share: entry.self / busy }));
}

/** From the package or the folder of compiled code on. */
function shortened(url: string): string {
  const [, ofPackage] = /node_modules\/((?!.*node_modules\/).*)$/.exec(url) ?? [];
  return ofPackage ?? /\/(dist\/.*)$/.exec(url)?.[1] ?? url;
}

/** A table of the dearest functions of each profile in a folder. */
export function profileSummary(folder: string, functions = 30): string {
  const files = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile'));
  return files
    .map((file) => {
      const profile = JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile;
      const lines = selfTimes(profile)
        .slice(0, functions)
        .map(
          ({ name, place, self, share }) =>
            `  ${(share * 100).toFixed(1).padStart(5)} %  ${Math.round(self).toString().padStart(6)} ms  ${name}  ${place}`,
        );
      return [`${join(folder, file)}, self time by function:`, ...lines].join('\n');
    })
    .join('\n\n');
}
