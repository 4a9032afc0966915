" SPDX-License-Identifier: MIT
" Other programs have files called *.policy, too: ours has `policy NAME NUMBER` as its first statement.
autocmd BufNewFile,BufRead *.policy call s:detect()

function! s:detect() abort
  for line in getline(1, 200)
    if line !~# '^\s*\%(#.*\)\=$'
      if line =~# '^\s*policy\s\+[a-z][a-z0-9_-]*\s\+\d\+\s*$'
        setfiletype cloister
      endif
      return
    endif
  endfor
endfunction
