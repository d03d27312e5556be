// The order of work of a products kernel.
//
// Output blocks (pairs of 128 tile rows x TILE_COLUMNS tile columns) are divided into groups of groupM pairs x groupN columns. The
// tiles of a group run plane by plane before the next group begins, so that operands and fragments stay in the L2 cache. Beside
// them other warps encode the rows of the next group row and decode the groups before.
#pragma once

struct Schedule {
  int mPairs, nBlocks, groupM, groupN;

  struct Place {
    int m, n, index;
  };

  /// Splits a ticket into an output block and an item of it, `items` for each pair of blocks. With `outer`, items vary slowest
  /// inside a group (planes), otherwise fastest (pieces).
  __device__ __forceinline__ Place place(int ticket, int items, bool outer) const {
    const int perRow = groupM * nBlocks * items;
    const int groupRow = ticket / perRow;
    int rest = ticket - groupRow * perRow;
    const int height = min(groupM, mPairs - groupRow * groupM);
    const int perGroup = height * groupN * items;
    const int groupColumn = rest / perGroup;
    rest -= groupColumn * perGroup;
    const int width = min(groupN, nBlocks - groupColumn * groupN);
    const int cells = height * width;
    const int index = outer ? rest / cells : rest % items;
    const int cell = outer ? rest - index * cells : rest / items;
    return {groupRow * groupM + cell % height, groupColumn * groupN + cell / height, index};
  }

  /// The side work in one sequence: encode group row 1, decode group row 0, encode 2, decode 1, ... (group row 0 is encoded before
  /// all else). `encodes` and `decodes` are the items of a pair of block rows. Returns an encode ticket counted from group row 1
  /// with `encode` set, a decode ticket counted from group row 0, or -1 after the last.
  __device__ __forceinline__ int side(int ticket, int encodes, int decodes, bool& encode) const {
    const int groupRows = (mPairs + groupM - 1) / groupM;
    encode = false;
    if (groupRows == 1) return ticket < mPairs * decodes ? ticket : -1;
    const int last = mPairs - (groupRows - 1) * groupM;
    const int segment = groupM * (encodes + decodes);
    const int index = min(ticket / segment, groupRows - 2);
    const int rest = ticket - index * segment;
    const int encoding = (index == groupRows - 2 ? last : groupM) * encodes;
    if (rest < encoding) {
      encode = true;
      return index * groupM * encodes + rest;
    }
    const int decoding = index * groupM * decodes + rest - encoding;
    return decoding < mPairs * decodes ? decoding : -1;
  }
};
