// PMTiles from any web server: by ranges where the server knows them, else whole.
const archives = new Map();

export async function fromArchive(address, z, x, y) {
  if (!archives.has(address)) archives.set(address, new globalThis.pmtiles.PMTiles(new Source(address)));
  const found = await archives.get(address).getZxy(z, x, y);
  return found?.data.byteLength ? found.data : null; // an archive without tiles has an empty one
}

class Source {
  constructor(address) {
    this.address = address;
    this.whole = null;
  }

  getKey() {
    return this.address;
  }

  async getBytes(offset, length) {
    if (!this.whole) {
      const range = `bytes=${offset}-${offset + length - 1}`;
      const answer = await fetch(this.address, { headers: { Range: range } });
      if (answer.status === 206) return { data: await answer.arrayBuffer() };
      if (!answer.ok) throw new Error(`${this.address} cannot be read (${answer.status})`);
      // Python's http.server and the like send all of the file, so it is asked for once.
      this.whole ??= answer.arrayBuffer();
    }
    return { data: (await this.whole).slice(offset, offset + length) };
  }
}
