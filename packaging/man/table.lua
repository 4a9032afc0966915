-- SPDX-License-Identifier: MIT
-- A table with many columns is a list in a manual page: what is in the first column, and below it the others, by their headings.
function Table(element)
  local simple = pandoc.utils.to_simple_table(element)
  local items = {}
  for _, row in ipairs(simple.rows) do
    local about = {}
    for i = 2, #row do
      if #row[i] > 0 then
        local text = pandoc.utils.blocks_to_inlines(row[i])
        if #row > 2 then
          text:insert(1, pandoc.Str(pandoc.utils.stringify(simple.headers[i]) .. ": "))
        end
        if #about > 0 then
          table.insert(about, pandoc.Str("; "))
        end
        for _, part in ipairs(text) do
          table.insert(about, part)
        end
      end
    end
    table.insert(items, { pandoc.utils.blocks_to_inlines(row[1]), { pandoc.Plain(about) } })
  end
  return pandoc.DefinitionList(items)
end
